# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts a Meson test log: prints "passed failed skipped"; every skip's reason goes to stderr."""

import json
import sys

passed = failed = skipped = 0
with open(sys.argv[1]) as log:
    for line in log:
        test = json.loads(line)
        if test["result"] in ("OK", "EXPECTEDFAIL"):
            passed += 1
        elif test["result"] == "SKIP":
            skipped += 1
            print(f"skipped {test['name']}: {test.get('stdout', '').strip() or 'no reason printed'}", file=sys.stderr)
        else:
            failed += 1
print(passed, failed, skipped)
