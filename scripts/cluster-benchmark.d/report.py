"""Writes docs/performance.md's section on the cluster, and its plots, from the raw JSON."""
import argparse
import os
import re
import sys

from matrix import read_matrix
from measures import Measures
from plots import write_plots
from raw import Raw

BEGIN = "<!-- cluster: from here written by scripts/cluster-benchmark --report -->"
END = "<!-- cluster: up to here -->"
INTRODUCTION = """## The cluster
Emulated devices (`scripts/pi-cluster`): each a share of one core, a memory limit and a link of its own; the matrix is
`scripts/cluster-benchmark.d/matrix`. Shares are noisy, so the baseline runs on all the devices at once, each alone with
the whole network, and is their mean (their sum where the devices differ); baseline, plans and naive plans take turns
in the same round. Numbers are medians over the rounds, ratios those of windows of the same round. Plans are made once,
and predicted anew in each round, because the machine is faster now and slower then: a round begins with a profile, and
a difference is that prediction over what was measured in the round. (The first round after plans were made has the
profile that they were made with, as has a round whose own failed; the last table says how many rounds have one of their
own. "First profile": the same with that profile in all rounds.) Latency is the mean of single requests, one after the
other. Each device of a baseline measures as soon as it has loaded the network: where devices differ, the slow ones end
alone, which makes them no slower. Every plan is held against one device and the naive plans (against replicas only where
they aren't forbidden), whose window the planner chooses as it does its own plans'. On one device the plan is that naive
plan and has no bar; its ratio says what it costs to compute for a coordinator elsewhere, which the baseline doesn't.
"""
REPEAT = """### Again
    sudo scripts/cluster-benchmark --resume{options}

measures what is missing in `{out}` (a JSON file for each network on each cluster; without `--resume` everything anew)
and writes this section and the plots; `--report` only writes. `--list` says how long it takes.
"""


def table(titles, rows):
    if not rows:
        return "Nothing measured yet.\n"
    align = ["---"] + ["--:" if right else "---" for right in (title.startswith(">") for title in titles[1:])]
    lines = [titles] + [align] + rows
    return "\n".join("| " + " | ".join(cell.lstrip(">") if line is titles else cell for cell in line) + " |"
                     for line in lines) + "\n"


def number(value, digits=3):
    """With that many digits that count, as plain decimals."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    return f"{float(text):.0f}" if "e" in text else text


def percent(value):
    return "–" if value is None else f"{value * 100:+.1f} %"


def seconds(value):
    return "–" if value is None else f"{number(value)} s" if value >= 1 else f"{number(value * 1e3)} ms"


def plain(text):
    return text.replace("|", "\\|").replace("\n", " ")


def check_of(measures, start):
    return next((check for check in measures.checks if check.name.startswith(start)), None)


def bar_text(check):
    if check is None:
        return "", ""
    sign = "≥" if check.sign == ">=" else "≤"
    return f"{sign} {check.bar:g}", {None: "not measured", True: "met", False: "**missed**"}[check.met]


def within(check):
    return "" if check is None or check.met is None else " met" if check.met else " **missed**"


def throughput_table(all_measures):
    rows = []
    for m in all_measures:
        if m.case.main == "offline" and m.rounds:
            bar, met = bar_text(check_of(m, "speedup") or check_of(m, "share"))
            spread = f" ({m.range[0]:.2f}–{m.range[1]:.2f})" if m.range else ""
            rows.append([m.case.name, number(m.predicted_per_s, 4), number(m.throughput_per_s, 4),
                         percent(m.throughput_difference) + within(check_of(m, "predicted throughput")),
                         percent(m.first_throughput_difference),
                         number(m.base_speed, 4), (number(m.speedup) if m.speedup else "–") + spread, bar, met])
    return table(["case", ">predicted, per s", ">measured, per s", ">difference (≤ 10 %)", ">first profile",
                  ">baseline, per s", ">ratio (range)", ">bar", "met"], rows)


def latency_table(all_measures):
    rows = []
    for m in all_measures:
        if m.latency_s is not None:
            time = check_of(m, "time")
            bar, met = bar_text(time)
            alone = seconds(1 / m.base_speed) if time and m.base_speed else "–"
            rows.append([m.case.name, seconds(m.predicted_latency_s), seconds(m.latency_s),
                         percent(m.latency_difference) + within(check_of(m, "predicted latency")),
                         percent(m.first_latency_difference),
                         alone, number(time.value) if time else "–", bar, met])
    return table(["case", ">predicted", ">measured", ">difference (≤ 15 %)", ">first profile", ">one device", ">ratio",
                  ">bar", "met"], rows)


def naive_table(all_measures):
    def cell(m, other):
        if other["ratio"] is None:
            return "not measured" if other["note"] == "not measured" else "doesn't run"
        text = f"{other['ratio']:.3f}" if other["note"] == "" else other["note"]
        fewer = other["note"] == "" and other["rounds"] != m.rounds
        rounds = f" ({other['rounds']} round{'s' * (other['rounds'] != 1)})" if fewer else ""
        return text + rounds + ("" if other["ratio"] >= 0.97 else " **missed**")
    rows = []
    for m in all_measures:
        others = {naive["plan"]: naive for naive in m.naive}
        if not m.rounds:
            continue
        one = check_of(m, "against one device")
        rows.append([m.case.name] + [cell(m, others[plan]) if plan in others else "–"
                                     for plan in ("equal-macs", "equal-layers", "all-replicas")] +
                    [number(one.value) + ("" if one.met is not False else " **missed**") if one else "–",
                     f"{m.rival['plan']}: {cell(m, m.rival)}" if m.rival else "–"])
    reasons = [f"- {m.case.name}, {other['plan']}: {plain(other['note'])}" for m in all_measures if m.rounds
               for other in m.naive if other["ratio"] is None and other["note"] != "not measured"]
    titles = ["case", ">equal MACs", ">equal layers", ">all replicas", ">one device", ">made for other links"]
    return (table(titles, rows)
            + ("\nWhat doesn't run, and why:\n" + "\n".join(reasons) + "\n" if reasons else ""))


def memory_table(all_measures):
    rows = []
    for m in all_measures:
        if m.rounds and m.limit_mb:
            tight = check_of(m, "devices that hold it alone")
            alone = "–" if m.single_fits() is None else "yes" if m.single_fits() else "no"
            wrong = " **missed**" if tight and tight.met is False else ""
            rows.append([m.case.name, number(m.limit_mb, 4), number(m.most_mb, 4), str(m.oom_kills),
                         str(m.swapped_pages), alone + wrong])
    return table(["case", ">limit, MB", ">most used, MB", ">OOM kills", ">pages swapped out", "one device holds it"],
                 rows)


def plans_table(all_measures, rounds, naive_rounds):
    rows = []
    for m in all_measures:
        failure = m.failure(rounds, naive_rounds)
        rows.append([m.case.name, m.case.cluster.describe(), m.case.plan, plain(m.stages()), str(m.rounds),
                     str(m.predicted_anew),
                     m.verdict(rounds, naive_rounds)
                     + (f": {plain(failure)}" if failure and failure != "not measured" else "")])
    return table(["case", "devices", "planner", "stages", ">rounds", ">predicted anew", "verdict"], rows)


def conditions(all_measures):
    sessions = [m.sessions[number] for m in all_measures for number in sorted({e["session"] for e in m.entries})]
    entries = [entry for m in all_measures for entry in m.entries]
    windows = sorted({entry["seconds"] for entry in entries})
    longest = max((window.get("seconds", 0) for entry in entries for window in entry["windows"].values()), default=0)
    if not sessions:
        return "Not measured yet.\n"
    dates = sorted({session["date"] for session in sessions})
    lines = [f"Machine: {'; '.join(sorted({session['machine'] for session in sessions}))}.",
             f"Measured {dates[0]}{f' to {dates[-1]}' if len(dates) > 1 else ''}, "
             f"commit {', '.join(dict.fromkeys(session['commit'] for session in sessions))};",
             f"windows of {', '.join(f'{window:g}' for window in windows)} s"
             f"{f' (slow pipelines: up to {longest:g} s)' if longest else ''},",
             f"{', '.join(str(n) for n in sorted({m.rounds for m in all_measures if m.rounds}))} rounds."]
    return "\n".join(lines) + "\n"


def section(all_measures, arguments, plots):
    link = os.path.relpath(arguments.out, os.path.dirname(os.path.abspath(arguments.page)))
    rounds, naive_rounds = arguments.rounds, arguments.naive_rounds
    verdicts = [m.verdict(rounds, naive_rounds) for m in all_measures]
    options = f" --seconds {arguments.seconds:g} --rounds {rounds} --naive-rounds {naive_rounds}"
    counts = ", ".join(f"{verdicts.count(word)} {word}" for word in
                       ("met", "missed", "failed", "incomplete", "not measured") if word in verdicts)
    blocks = [BEGIN, INTRODUCTION, conditions(all_measures), f"Cases: {counts}.\n"]
    blocks += [f"![{title}]({link}/{name}.svg)  \n[the numbers]({link}/{name}.json)\n" for name, title in plots]
    blocks += ["### Throughput\n" + throughput_table(all_measures),
               "### Latency of one request\n" + latency_table(all_measures),
               "### Against naive plans\nThe plan's speed over theirs, at least 0.97.\n\n" + naive_table(all_measures),
               "### Memory\nThe device nearest to its limit: all that the cgroup counts, at its peak since the cluster "
               "came up, profiling included.\n\n"
               + memory_table(all_measures),
               "### Cases\n" + plans_table(all_measures, rounds, naive_rounds),
               REPEAT.format(out=link, options=options), END]
    return "\n".join(blocks) + "\n"


def write_page(page, text):
    """Replaces the section, or appends it; other sections stay as they are."""
    old = "# Performance\n"
    if os.path.exists(page):
        with open(page, encoding="utf-8") as file:
            old = file.read()
    before, mark, rest = old.partition(BEGIN)
    if not mark:
        new = old.rstrip("\n") + "\n\n" + text
    elif END not in rest:
        raise ValueError(f"{page} has no \"{END}\"")
    else:
        new = before + text + rest.partition(END)[2].removeprefix("\n")
    os.makedirs(os.path.dirname(os.path.abspath(page)), exist_ok=True)
    with open(page + ".new", "w", encoding="utf-8") as file:
        file.write(new)
    os.replace(page + ".new", page)


def main():
    parser = argparse.ArgumentParser()
    for option in ("matrix", "out", "page"):
        parser.add_argument("--" + option, required=True)
    for option in ("rounds", "naive-rounds"):
        parser.add_argument("--" + option, type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    cases = read_matrix(arguments.matrix)
    all_measures = [Measures(case, Raw(os.path.join(arguments.out, case.group + ".json")), arguments.seconds)
                    for case in cases]
    plots = write_plots(all_measures, arguments.out)
    write_page(arguments.page, section(all_measures, arguments, plots))
    good = True
    for m in all_measures:
        if not re.search(arguments.only, m.case.name):
            continue
        verdict = m.verdict(arguments.rounds, arguments.naive_rounds)
        why = m.failure(arguments.rounds, arguments.naive_rounds)
        good = good and verdict == "met"
        if verdict == "missed":
            why = "; ".join(f"{check.name} {number(check.value)}, bar {check.sign} {check.bar:g}" for check in m.checks
                            if not check.met)
        print(f"{verdict:13} {m.case.name}" + (f": {why}" if why and why != verdict else ""))
    print(f"wrote {arguments.page}")
    return 0 if good else 1


try:
    sys.exit(main())
except (OSError, ValueError, KeyError, re.error) as error:
    sys.exit(f"cluster-benchmark: {type(error).__name__}: {error}")
