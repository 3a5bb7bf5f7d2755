"""What scripts/cluster-benchmark needs of JSON and arithmetic while it measures; a subcommand each, see main()."""
import argparse
import json
import math
import os
import re
import sys

from matrix import BASE, NAIVE, groups_of, read_matrix
from measures import rate
from raw import Raw

# Seconds around a window for deploying or loading at a tenth of a core, warming up and draining; and for profiling.
OVERHEAD_S = {"vgg16": 35, "c3d": 35, "alexnet": 15, "xception": 15, "resnet50": 12}
PROFILE_S = {"vgg16": 95, "c3d": 95, "xception": 60, "resnet50": 60}


def raw_of(arguments, group):
    return Raw(os.path.join(arguments.out, group + ".json"))


def chosen(arguments):
    return [case for case in read_matrix(arguments.matrix) if re.search(arguments.only, case.name)]


def unfinished(arguments, cases, raw, again):
    """The pairs of windows that are missing, with how many rounds each; `again`: in a new session."""
    missing = {}
    for case in cases:
        pairs = raw.remaining_of_case(case, arguments.rounds, arguments.naive_rounds, arguments.seconds, again)
        for pair, rounds in pairs.items():
            missing[pair] = max(rounds, missing.get(pair, 0))
    return missing


def in_order(windows):
    """The baseline, the plans, the naive ones: in the first round memory shows what the plans alone took."""
    def rank(window):
        plan = window.split("/")[0]
        return 0 if plan == BASE else 2 if plan in NAIVE else 1
    return sorted(windows, key=lambda window: (rank(window), window))


def list_cases(arguments):
    """Cases with what is still to be done, and how long that takes; without --resume all of it."""
    total_s = 0
    print(f"{'group':24} {'cases':60} {'windows':>8} {'minutes':>8}")
    for group, cases in groups_of(chosen(arguments)).items():
        raw = raw_of(arguments, group) if arguments.resume else Raw("")
        missing = unfinished(arguments, cases, raw, again=True)
        session = raw.planned()
        windows = {}
        for pair, rounds in missing.items():
            for window in (raw.resolve(session, name) for name in pair):
                windows[window] = max(rounds, windows.get(window, 0))
        count = sum(windows.values())
        network = cases[0].network
        seconds = count * (arguments.seconds + OVERHEAD_S.get(network, 8))
        if count:
            profiles = max(windows.values()) + (1 if cases[0].cluster.rival_mbps else 0)
            seconds += profiles * PROFILE_S.get(network, 30)
        total_s += seconds
        names = ", ".join(case.name for case in cases)
        print(f"{group:24} {names:60} {count:8} {seconds / 60:8.0f}")
    print(f"all together about {total_s / 3600:.1f} hours: less where plans turn out equal, which are measured once, more "
          "where pipelines are slow")


def list_groups(arguments):
    """A line for each group to measure: name, network, Mbit/s, memory, the rival's Mbit/s or -, plans, devices' CPUs."""
    for group, cases in groups_of(chosen(arguments)).items():
        if arguments.resume and not unfinished(arguments, cases, raw_of(arguments, group), again=True):
            continue
        cluster = cases[0].cluster
        plans = list(dict.fromkeys(case.plan for case in cases))
        rivals = list(dict.fromkeys(case.plan for case in cases if case.rival()))
        print(group, cases[0].network, cluster.mbps, cluster.memory, cluster.rival_mbps if rivals else "-",
              ",".join(plans), ",".join(cluster.cpus))


def begin(arguments):
    """A session: what is planned and measured with the cluster that is brought up now."""
    raw = raw_of(arguments, arguments.group)
    if not arguments.resume:
        raw = Raw("")
        raw.path = raw_of(arguments, arguments.group).path
    cases = groups_of(read_matrix(arguments.matrix))[arguments.group]
    cluster = cases[0].cluster
    raw.data.update({"group": arguments.group, "network": cases[0].network,
                     "cluster": {"name": cluster.name, "describe": cluster.describe()}})
    raw.data["sessions"].append({"date": arguments.date, "commit": arguments.commit, "machine": arguments.machine,
                                 "plans": {}})
    raw.save()


def fail_session(arguments):
    raw = raw_of(arguments, arguments.group)
    raw.data["sessions"][-1]["error"] = arguments.error
    raw.save()


def essence(plan):
    """What two equal plans have in common: all but what was predicted."""
    stages = json.loads(json.dumps(plan["stages"]))
    for stage in stages:
        for part in stage["parts"]:
            part.pop("compute_s", None)
    return json.dumps([stages, plan.get("window"), plan.get("choices")], sort_keys=True)


def describe_stages(plan):
    """Like 3 whole + 4 spatial ×2: how each stage is divided, and over how many devices."""
    words = []
    for stage in plan["stages"]:
        devices = max(len(part["devices"]) for part in stage["parts"])
        words.append(f"{stage['split']}{len(stage['parts']) if len(stage['parts']) > 1 else ''}"
                     f"{f'×{devices}' if devices > 1 else ''}")
    runs = []
    for word in words:
        if runs and runs[-1][0] == word:
            runs[-1][1] += 1
        else:
            runs.append([word, 1])
    return ", ".join(word if count == 1 else f"{count} {word}" for word, count in runs)


def add_plan(arguments):
    """Keeps what the plan in the folder says, or why there is none; finds the plan made before that is equal to it."""
    raw = raw_of(arguments, arguments.group)
    plans = raw.data["sessions"][-1]["plans"]
    if arguments.error is not None:
        plans[arguments.plan] = {"error": arguments.error}
        raw.save()
        return
    with open(os.path.join(arguments.plans, arguments.plan + ".json"), encoding="utf-8") as file:
        plan = json.load(file)
    entry = {"prediction": prediction_of(plan),
             "memory_MB": [round(load["memory_bytes"] / 1e6, 1) for load in plan["prediction"].get("loads", [])],
             "stages": describe_stages(plan)}
    for name, other in plans.items():
        if "prediction" in other and "same_as" not in other:
            with open(os.path.join(arguments.plans, name + ".json"), encoding="utf-8") as file:
                if essence(json.load(file)) == essence(plan):
                    entry["same_as"] = name
                    break
    plans[arguments.plan] = entry
    raw.save()


def prediction_of(plan):
    return {key: short(value) for key, value in plan["prediction"].items() if not isinstance(value, list)}


def add_predicted(arguments):
    """Keeps what is predicted of a plan with the profile of the round that began last."""
    raw = raw_of(arguments, arguments.group)
    with open(os.path.join(arguments.plans, arguments.plan + ".round.json"), encoding="utf-8") as file:
        raw.data["rounds"][-1].setdefault("predictions", {})[arguments.plan] = prediction_of(json.load(file))
    raw.save()


def layers_of(inspected):
    """[last value, MACs] of each weighted layer with what follows it, in the order in which they are computed."""
    layers = [["", 0]]
    for node in inspected["nodes"]:
        if node["weight_bytes"] > 0 and node["macs"] > 0 and layers[-1][1] > 0:
            layers.append(["", 0])
        layers[-1][0] = node["output"]
        layers[-1][1] += node["macs"]
    return layers


def cut_equal_macs(macs, stages):
    """Where to cut so that the largest stage is as small as it can be: the ends of the stages, without the last."""
    prefix = [0]
    for layer in macs:
        prefix.append(prefix[-1] + layer)
    count = len(macs)
    best = [{0: (0, -1)}]  # best[s][i]: (largest of s stages that hold i layers, where the last begins)
    for s in range(1, stages + 1):
        best.append({i: min((max(best[s - 1][j][0], prefix[i] - prefix[j]), j) for j in best[s - 1] if j < i)
                     for i in range(s, count + 1)})
    ends, i = [], count
    for s in range(stages, 1, -1):
        i = best[s][i][1]
        ends.append(i)
    return ends[::-1]


def naive(arguments):
    """Stages files of the naive plans into the folder, for devices pi1, pi2, …; prints the names of those there are."""
    with open(arguments.inspect, encoding="utf-8") as file:
        layers = layers_of(json.load(file))
    devices = arguments.devices
    if devices == 1:
        return
    stages = min(devices, len(layers))
    cuts = {"equal-macs": cut_equal_macs([macs for _, macs in layers], stages),
            "equal-layers": [round(len(layers) * s / stages) for s in range(1, stages)]}
    for name, ends in cuts.items():
        lines = [f"  - {{until: {json.dumps(layers[end - 1][0])}, devices: [pi{s + 1}]}}" for s, end in enumerate(ends)]
        lines.append(f"  - {{devices: [pi{stages}]}}")
        with open(os.path.join(arguments.plans, name + ".yaml"), "w", encoding="utf-8") as file:
            file.write("stages:\n" + "\n".join(lines) + "\n")
    names = ", ".join(f"pi{i + 1}" for i in range(devices))
    with open(os.path.join(arguments.plans, "all-replicas.yaml"), "w", encoding="utf-8") as file:
        file.write(f"stages:\n  - {{replicas: {devices}, devices: [{names}]}}\n")
    print("\n".join(NAIVE))


def todo(arguments):
    """Begins a round; prints how many will follow, and its windows. Nothing when all is measured.

    A window that failed isn't repeated: --resume makes up for it.
    """
    raw = raw_of(arguments, arguments.group)
    cases = [case for case in chosen(arguments) if case.group == arguments.group]
    raw.data["sessions"][-1]["planned"] = True
    raw.save()
    session = len(raw.data["sessions"]) - 1
    here = sum(entry["session"] == session for entry in raw.data["rounds"])
    missing = {pair: rounds for pair, rounds in unfinished(arguments, cases, raw, again=False).items()
               if not raw.planning_error(pair)}
    if not missing or here >= arguments.rounds:
        return
    # The case's own plan first: of two equal windows in a round, one is measured.
    windows = in_order({raw.resolve(raw.data["sessions"][-1], window) for pair in missing for window in pair})
    turn = here % len(windows)  # nobody is always first
    raw.data["rounds"].append({"session": session, "seconds": arguments.seconds, "windows": {}})
    raw.save()
    print(min(max(missing.values()), arguments.rounds - here) - 1)
    print("\n".join(windows[turn:] + windows[:turn]))


def duration(arguments):
    """How many seconds a window of this plan lasts: those asked for, or what a slow pipeline is expected to take for as
    many results as tell its rate: bench gives steady_per_s from 3 windows of requests and 2 more on (cli/load.cc). What
    is in flight at the end counts there too, so that a third is to spare. Not more than ten times those asked for.
    """
    plan, scenario = arguments.window.split("/")
    seconds = arguments.seconds
    if scenario == "offline" and plan != BASE:
        # As it was planned, and as it was predicted anew for this round.
        path, anew = (os.path.join(arguments.plans, plan + end) for end in (".json", ".round.json"))
        for name in (path, anew) if os.path.exists(anew) else (path,):
            with open(name, encoding="utf-8") as file:
                planned = json.load(file)
            results, rate_per_s = 3 * planned["window"] + 2, planned["prediction"]["throughput_per_s"]
            if results > 10 * arguments.seconds * rate_per_s:
                raise ValueError(f"{results} results, which tell the rate, take too long at {rate_per_s:g} per s")
            seconds = max(seconds, math.ceil(results / rate_per_s))
    print(f"{seconds:g}")


def parse_status(path):
    """Of pi-cluster status: {device: {limit_MB, most_MB, oom}}."""
    with open(path, encoding="utf-8") as file:
        rows = [line.split() for line in file]
    result = {}
    for row in rows[1:]:
        columns = dict(zip(rows[0], row))
        most = columns["most_MB"]
        result[columns["name"]] = {"limit_MB": float(columns["limit_MB"]),
                                   "most_MB": None if most == "-" else float(most), "oom": int(columns["oom"])}
    return result


def short(value):
    """With seven digits that count."""
    if isinstance(value, dict):
        return {key: short(item) for key, item in value.items()}
    return float(f"{value:.7g}") if isinstance(value, float) else value


def add_window(arguments):
    """Adds NAME=FILE results, or why there are none, to the round that began last, and says in few words what they are."""
    raw = raw_of(arguments, arguments.group)
    entry = {"error": arguments.error} if arguments.error is not None else {"devices": {}}
    for argument in arguments.results:
        name, path = argument.split("=", 1)
        with open(path, encoding="utf-8") as file:
            result = json.load(file)
        entry["devices"][name] = {key: short(result[key]) for key in
                                  ("requests", "throughput_per_s", "steady_per_s", "latency_ms") if key in result}
    is_pipeline = arguments.window.endswith("/offline") and not arguments.window.startswith(BASE + "/")
    if is_pipeline and any("steady_per_s" not in result for result in entry.get("devices", {}).values()):
        entry = {"error": "too few results to tell the rate of a full pipeline: it takes longer windows"}
    if arguments.duration_s > arguments.seconds:
        entry["seconds"] = arguments.duration_s
    entry["wall_s"] = arguments.wall_s
    entry["swapped_pages"] = arguments.swapped_pages
    if arguments.status:
        after, before = parse_status(arguments.status), parse_status(arguments.status_before)
        entry["memory"] = {"limit_MB": [device["limit_MB"] for device in after.values()],
                           "most_MB": [device["most_MB"] for device in after.values()],
                           "oom_kills": sum(after[name]["oom"] - before[name]["oom"] for name in after)}
    raw.data["rounds"][-1]["windows"][arguments.window] = entry
    raw.save()
    if "error" in entry:
        print(f"FAILED: {entry['error']}")
        return
    rates = [rate(result) for result in entry["devices"].values()]
    means = [result["latency_ms"]["mean"] for result in entry["devices"].values()]
    print(f"{sum(rates) / len(rates):.3f} per s, {sum(means) / len(means):.0f} ms")


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    for name, function in (("list", list_cases), ("groups", list_groups), ("begin", begin), ("fail", fail_session),
                           ("plan", add_plan), ("predicted", add_predicted), ("naive", naive), ("todo", todo),
                           ("duration", duration), ("window", add_window)):
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        for option in ("matrix", "out", "group", "error", "plan", "plans", "inspect", "window", "status",
                       "status-before", "date", "commit", "machine"):
            command.add_argument("--" + option)
        command.add_argument("--only", default="")
        command.add_argument("--resume", action="store_true")
        for option in ("rounds", "naive-rounds", "devices", "swapped-pages"):
            command.add_argument("--" + option, type=int, default=0)
        for option in ("seconds", "duration-s", "wall-s"):
            command.add_argument("--" + option, type=float, default=0)
        command.add_argument("results", nargs="*")
    arguments = parser.parse_args()
    try:
        arguments.function(arguments)
    except (OSError, ValueError, KeyError, re.error) as error:
        sys.exit(f"cluster-benchmark: {type(error).__name__}: {error}")


main()
