# SPDX-License-Identifier: GPL-3.0-or-later
"""The same results as a table for a terminal, and as a page with plots."""

import html
import re
import subprocess


OTHERS_MAX = 0.2


def number(x):
    if x == 0:
        return "0"
    if abs(x) >= 100:
        return f"{x:,.0f}"
    return f"{x:.3g}"


def table(document, results, peers, baseline):
    """A row a scenario and metric, a column a peer; beside each figure its ratio to the baseline with the lowest and highest."""
    m = document["machine"]
    lines = [f"{m['cpu']}, {m['cores']} cores, Linux {m['kernel']}; load {m['load']:.2f} at the start, {m['load_after']:.2f} at the end; "
             f"{m['rounds']} round(s) of {m['seconds']:g} s, {m['took']} s in all; others used {m['others']:.2f} processors meanwhile"
             f"{': ask again when they are quiet' if m['others'] > OTHERS_MAX else ''}",
             f"medians; (x..) is the ratio to {baseline}, paired by round: median [lowest-highest]", ""]
    by = {(r["scenario"], r["peer"], r["metric"]): r for r in document["results"]}
    cells = [["scenario", "metric", *peers]]
    for (scenario, metric), (unit, better) in results.about.items():
        row = [scenario, f"{metric} {unit} ({'more' if better == 'higher' else 'less'} is better)"]
        for peer in peers:
            r = by.get((scenario, peer, metric))
            if not r:
                row.append("-")
                continue
            text = number(r["median"])
            ratio = results.ratio(scenario, metric, peer, baseline) if peer != baseline else None
            if ratio:
                text += f" (x{ratio[0]:.2f}"
                text += f" [{ratio[1]:.2f}-{ratio[2]:.2f}])" if len(r["samples"]) > 1 else ")"
            row.append(text)
        cells.append(row)
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines += ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in cells]
    for f in m["failed"]:
        lines.append(f"failed: {f['scenario']} with {f['peer']}: {f['why'].splitlines()[0]}")
    whys = {}
    for f in m["without"]:
        whys.setdefault((f["peer"], f["why"]), []).append(f["scenario"])
    for (peer, why), where in whys.items():
        lines.append(f"without {peer}{'' if where == ['*'] else ' in ' + ', '.join(where)}: {why}")
    return "\n".join(lines)


def plot(to, title, unit, rows):
    """Bars with whiskers (lowest to highest), one a peer."""
    least = min(r["min"] for r in rows)
    data = "\n".join(f'{i} {r["median"]} {r["min"]} {r["max"]} "{r["peer"]}"' for i, r in enumerate(rows))
    for suffix, terminal in (("svg", "svg size 720,360 dynamic font 'sans,12'"), ("png", "pngcairo size 1080,540 font 'sans,13'")):
        script = f"""set terminal {terminal}
set output "{to}.{suffix}"
set title "{title}"
set ylabel "{unit}"
set yrange [{'0' if least >= 0 else '*'}:*]
set style fill solid 0.6
set boxwidth 0.6
set grid ytics
set xtics rotate by -20
set rmargin 9
unset key
$data << EOD
{data}
EOD
plot $data using 1:2:xtic(5) with boxes lc rgb "#4477aa", $data using 1:2:3:4 with yerrorbars lc rgb "#333333" pt 0
"""
        gnuplot(script)


def gnuplot(script):
    subprocess.run(["gnuplot"], input=script, text=True, check=True, timeout=60, capture_output=True)


def curves(to, title, lines):
    """Latency by rate, one line a peer: lines is {peer: [(rate, microseconds)]}."""
    blocks = "\n".join(f"$d{i} << EOD\n" + "\n".join(f"{x} {y}" for x, y in points) + "\nEOD" for i, points in enumerate(lines.values()))
    drawn = ", ".join(f'$d{i} using 1:2 with linespoints lw 2 title "{peer}"' for i, peer in enumerate(lines))
    for suffix, terminal in (("svg", "svg size 720,360 dynamic font 'sans,12'"), ("png", "pngcairo size 1080,540 font 'sans,13'")):
        gnuplot(f"""set terminal {terminal}
set output "{to}.{suffix}"
set title "{title}"
set xlabel "requests a second"
set ylabel "us"
set logscale xy
set grid
set key outside
{blocks}
plot {drawn}
""")


def by_rate(document, peers):
    """{(size, metric): {peer: [(rate, median)]}} of what was asked at a rate."""
    found = {}
    for row in document["results"]:
        name = re.fullmatch(r"rr-(\d+)-(\d+)k", row["scenario"])
        if name and row["metric"] in ("p50", "p99", "p999") and row["median"] > 0:
            lines = found.setdefault((name[1], row["metric"]), {p: [] for p in peers})
            lines.setdefault(row["peer"], []).append((int(name[2]) * 1000, row["median"]))
    # One point makes no line.
    kept = {key: {p: sorted(points) for p, points in lines.items() if len(points) > 1} for key, lines in found.items()}
    return {key: lines for key, lines in kept.items() if lines}


def page(document, results, peers, baseline, directory):
    directory.mkdir(parents=True, exist_ok=True)
    body = [f"<h1>ringwall-bench</h1><pre>{html.escape(table(document, results, peers, baseline))}</pre>"]
    for (size, metric), lines in by_rate(document, peers).items():
        name = f"latency-{size}-{metric}"
        curves(directory / name, f"request/response of {size} B: {metric} by rate (less is better)", lines)
        body.append(f'<figure><a href="{name}.png"><img src="{name}.svg" alt="{name}"></a></figure>')
    for (scenario, metric), (unit, better) in results.about.items():
        rows = [r for p in peers for r in document["results"] if (r["scenario"], r["peer"], r["metric"]) == (scenario, p, metric)]
        name = re.sub("[^A-Za-z0-9]+", "-", f"{scenario}-{metric}")
        plot(directory / name, f"{scenario}: {metric} ({'more' if better == 'higher' else 'less'} is better)", unit, rows)
        body.append(f'<figure><a href="{name}.png"><img src="{name}.svg" alt="{html.escape(scenario)} {html.escape(metric)}"></a></figure>')
    style = "body{font-family:sans-serif;max-width:80em;margin:2em auto}figure{display:inline-block;margin:.5em}pre{overflow-x:auto}"
    (directory / "index.html").write_text(
        f"<!doctype html><meta charset=utf-8><title>ringwall-bench</title><style>{style}</style>\n" + "\n".join(body) + "\n")
