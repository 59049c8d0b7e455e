#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws a flame graph of the workers: where both daemons' time goes while something is measured.

  perf record -a -g -F 4999 -o FILE -- sleep 3        while ringwall-bench runs
  perf script -i FILE -F comm,ip,sym | bench/harness/flame.py > flame.svg

A box is a function, as wide as its share of the samples, with what it calls above it; a title shows the share."""

import html
import sys

WIDTH, ROW, FONT = 1400, 17, 11
SHARE_MIN = 0.002  # what would be too thin to see is left out
UNKNOWN = {"[unknown]", ""}


class Frame:
    def __init__(self):
        self.n, self.below = 0, {}

    def add(self, stack):
        self.n += 1
        if stack:
            self.below.setdefault(stack[0], Frame()).add(stack[1:])

    def depth(self, total):
        deep = [f.depth(total) for f in self.below.values() if f.n >= SHARE_MIN * total]
        return 1 + max(deep, default=0)


def samples(lines):
    """(command, its stack from the outermost call inwards)."""
    command, stack = None, []
    for line in lines:
        if not line.strip():
            if command:
                yield command, stack[::-1]
            command, stack = None, []
        elif not line[0].isspace():
            command = line.split()[0]
        else:
            name = line.split(maxsplit=1)[1].strip().split("+")[0] if len(line.split()) > 1 else ""
            if name not in UNKNOWN:
                stack.append(name.removesuffix(".isra.0").removesuffix(".part.0"))
    if command:
        yield command, stack[::-1]


def colour(name):
    kernel = name.startswith(("tcp_", "ip_", "__", "_raw", "do_", "sock_", "net_", "io_", "skb_", "entry_", "_copy", "br_", "veth", "sys", "handle_", "nf_"))
    shade = sum(map(ord, name)) % 40
    return f"rgb({235 - shade},{150 + shade},90)" if kernel else f"rgb({90 + shade},{165 + shade},220)"


def draw(frame, name, x, y, total, out):
    width = frame.n / total * WIDTH
    share = 100 * frame.n / total
    text = html.escape(name if len(name) * FONT * 0.6 < width else name[:max(int(width / FONT / 0.6) - 1, 0)])
    out.append(f'<g><title>{html.escape(name)} {share:.1f} %</title><rect x="{x:.1f}" y="{y}" width="{max(width - 0.5, 0.3):.1f}" '
               f'height="{ROW - 1}" fill="{colour(name)}" rx="1"/><text x="{x + 3:.1f}" y="{y + ROW - 5}">{text}</text></g>')
    for key, below in sorted(frame.below.items()):
        if below.n >= SHARE_MIN * total:
            draw(below, key, x, y - ROW, total, out)
        x += below.n / total * WIDTH


def main():
    root = Frame()
    for command, stack in samples(sys.stdin):
        if command.startswith("worker-"):
            root.add(stack)
    if not root.n:
        raise SystemExit("no sample of a worker: was ringwall-bench measuring ringwall?")
    height = (root.depth(root.n) + 1) * ROW
    out = []
    draw(root, f"workers of both daemons, {root.n} samples", 0, height - ROW, root.n, out)
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
          f'font-family="sans-serif" font-size="{FONT}">\n<rect width="100%" height="100%" fill="white"/>')
    print("\n".join(out))
    print("</svg>")


if __name__ == "__main__":
    main()
