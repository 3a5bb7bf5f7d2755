"""The plots of docs/performance.md as SVG, by gnuplot, each with its numbers as JSON beside it."""
import json
import os
import subprocess

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # distinct also for the colour-blind
HEAD = """set terminal svg size {width},{height} font "sans-serif,13" background "white" noenhanced
set output "{file}"
set title "{title}" noenhanced
set grid lc rgb "#dddddd"
set border 3 lc rgb "#666666"
set tics nomirror
set style line 100 lc rgb "#888888" dt 2
"""


def block(name, rows):
    """A gnuplot data block."""
    lines = [" ".join(f'"{cell}"' if isinstance(cell, str) else f"{cell:.8g}" for cell in row) for row in rows]
    return f"${name} << END\n" + "\n".join(lines) + "\nEND\n"


def look(i):
    return f'pt {5 + 2 * (i % 3)} lc rgb "{COLOURS[i % len(COLOURS)]}"'


def draw(out, name, title, data, script, width=800, height=480):
    with open(os.path.join(out, name + ".json"), "w", encoding="utf-8") as file:
        json.dump({"title": title, "points": data}, file, indent=1, ensure_ascii=False)
        file.write("\n")
    head = HEAD.format(width=width, height=height, file=f"{name}.svg", title=title)
    try:
        subprocess.run(["gnuplot", "-"], input=head + script, text=True, check=True, cwd=out, capture_output=True)
    except subprocess.CalledProcessError as error:
        raise ValueError(f"gnuplot, {name}: {error.stderr.strip()}") from None
    return name, title


def scaling(all_measures, out):
    """Throughput over the baseline by number of devices; cases named NETWORK-DEVICES."""
    points = [{"network": m.case.network, "devices": len(m.case.cluster.cpus), "ratio": m.speedup} for m in all_measures
              if m.speedup and m.case.name == f"{m.case.network}-{len(m.case.cluster.cpus)}"]
    networks = list(dict.fromkeys(point["network"] for point in points))
    if not points:
        return None
    script, plots = "", ['x with lines ls 100 title "linear"']
    for i, network in enumerate(networks):
        rows = sorted((p["devices"], p["ratio"]) for p in points if p["network"] == network)
        script += block(f"network{i}", rows)
        plots.append(f'$network{i} with linespoints lw 2 {look(i)} title "{network}"')
    most = max(point["devices"] for point in points)
    script += (f'set xlabel "devices"\nset ylabel "throughput over one device\'s"\nset key left top\n'
               f"set xrange [0:{most + 0.5}]\nset yrange [0:*]\nplot " + ", ".join(plots) + "\n")
    return draw(out, "cluster-scaling", "Throughput, ample memory", points, script)


def prediction(all_measures, out, quantity):
    """Predicted against measured, with the tolerance as a band."""
    if quantity == "throughput":
        name, title, unit, tolerance = "cluster-throughput", "Throughput: predicted against measured", "per s", 0.10
        points = [{"case": m.case.name, "network": m.case.network, "measured": m.throughput_per_s,
                   "predicted": m.predicted_per_s} for m in all_measures if m.throughput_per_s]
    else:
        name, title, unit, tolerance = "cluster-latency", "Latency alone: predicted against measured", "s", 0.15
        points = [{"case": m.case.name, "network": m.case.network, "measured": m.latency_s,
                   "predicted": m.predicted_latency_s} for m in all_measures if m.latency_s]
    if not points:
        return None
    script = ""
    plots = ['x with lines ls 100 title "equal"',
             f'x * {1 + tolerance} with lines lc rgb "#cccccc" title "± {tolerance * 100:.0f} %"',
             f'x / {1 + tolerance} with lines lc rgb "#cccccc" notitle']
    for i, network in enumerate(dict.fromkeys(point["network"] for point in points)):
        script += block(f"network{i}", [(p["measured"], p["predicted"]) for p in points if p["network"] == network])
        plots.append(f'$network{i} with points ps 0.9 {look(i)} title "{network}"')
    values = [value for point in points for value in (point["measured"], point["predicted"])]
    script += (f'set logscale xy\nset key left top\nset xrange [{min(values) / 1.3:.8g}:{max(values) * 1.3:.8g}]\n'
               f'set yrange [{min(values) / 1.3:.8g}:{max(values) * 1.3:.8g}]\nset size square\n'
               f'set xlabel "measured, {unit}"\nset ylabel "predicted, {unit}"\nplot ' + ", ".join(plots) + "\n")
    return draw(out, name, title, points, script, width=640, height=600)


def ratios(all_measures, out):
    """Throughput over the baseline where there is a bar, as a share of that bar."""
    points = []
    for m in all_measures:
        for check in m.checks:
            if check.name in ("speedup", "share", "time") and check.value:
                ratio = check.value / check.bar if check.sign == ">=" else check.bar / check.value
                points.append({"case": m.case.name, "kind": check.name, "value": check.value, "bar": check.bar,
                               "of_bar": ratio})
    if not points:
        return None
    rows = [(i, p["of_bar"], f"{p['case']} ({'at most ' if p['kind'] == 'time' else ''}{p['bar']:g})",
             f"{p['value']:.2f}", 0x009E73 if p["of_bar"] >= 1 else 0xD55E00) for i, p in enumerate(points)]
    script = block("cases", rows)
    script += ('set rmargin 3\nset offsets 0, 0, 0.1, 0\nset boxwidth 0.6\nset style fill solid 0.85 noborder\n'
               'set xtics rotate by 40 right\nset yrange [0:*]\n'
               f'set xrange [-0.6:{len(rows) - 0.4}]\nset ylabel "measured, as a share of the bar"\nunset key\n'
               'set arrow from graph 0, first 1 to graph 1, first 1 nohead lc rgb "#333333" lw 2 front\n'
               'plot $cases using 1:2:5:xtic(3) with boxes lc rgb variable, '
               '$cases using 1:2:4 with labels offset 0,0.7 notitle\n')
    return draw(out, "cluster-bars", "Throughput or time over one device's, against its bar", points, script,
                width=960, height=520)


def write_plots(all_measures, out):
    """Returns [(name, title)] of those for which something was measured."""
    os.makedirs(out, exist_ok=True)
    plots = [scaling(all_measures, out), prediction(all_measures, out, "throughput"),
             prediction(all_measures, out, "latency"), ratios(all_measures, out)]
    return [plot for plot in plots if plot]
