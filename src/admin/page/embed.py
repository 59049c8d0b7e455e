# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the dashboard as C arrays: embed.py OUT FILE..."""

import pathlib
import sys

out, *files = map(pathlib.Path, sys.argv[1:])
text = "/* Made from the files of src/admin/page */\n"
for file in files:
    data = file.read_bytes()
    name = "page_" + file.suffix[1:]
    rows = (", ".join(map(str, data[i:i + 24])) for i in range(0, len(data), 24))
    text += f"static const unsigned char {name}_bytes[] = {{\n" + ",\n".join(rows) + "};\n"
out.write_text(text)
