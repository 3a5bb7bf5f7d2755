"""The matrix of scripts/cluster-benchmark: its clusters and cases, and which windows a case is made of."""
import re

# Which plans nobody needs a planner for. "One device alone" is the baseline.
NAIVE = ("equal-macs", "equal-layers", "all-replicas")
PLANS = ("default", "no-replicas", "latency")
BASE = "base"


class Cluster:
    def __init__(self, name, devices, mbps, memory, rival_mbps=None):
        self.name, self.mbps, self.memory, self.rival_mbps = name, mbps, memory, rival_mbps
        self.cpus = []  # of the devices pi1, pi2, …
        for part in devices.split("+"):
            count, cpu = re.fullmatch(r"([0-9]+)x([0-9.]+%)", part).groups()
            self.cpus += [cpu] * int(count)

    def names(self):
        return [f"pi{i + 1}" for i in range(len(self.cpus))]

    def is_mixed(self):
        return len(set(self.cpus)) > 1

    def describe(self):
        kinds = dict.fromkeys(self.cpus)
        devices = ", ".join(f"{self.cpus.count(cpu)} × {cpu}" for cpu in kinds)
        return f"{devices}; {self.mbps} Mbit/s; {self.memory}"


class Case:
    """A plan of a network on a cluster. A window is "PLAN/SCENARIO", the scenario is offline or single."""

    def __init__(self, name, network, cluster, plan, bars):
        self.name, self.network, self.cluster, self.plan = name, network, cluster, plan
        self.group = f"{network}-{cluster.name}"
        self.bars = {}  # name -> (sign, number), or ("", None)
        for bar in bars:
            kind, sign, number = re.fullmatch(r"(speedup|share|time|rival|tight)(?:([<>]=)([0-9.]+))?", bar).groups()
            self.bars[kind] = (sign or "", float(number) if number else None)
        self.main = "single" if plan == "latency" else "offline"

    def window(self, plan=None, scenario=None):
        return f"{plan or self.plan}/{scenario or self.main}"

    def naive_plans(self):
        if len(self.cluster.cpus) == 1:
            return []  # they all are the plan itself
        return [name for name in NAIVE if name != "all-replicas" or self.plan != "no-replicas"]

    def rival(self):
        return f"{self.plan}@{self.cluster.rival_mbps}" if "rival" in self.bars else None

    def pairs(self):
        """The windows that must be measured in the same round, as tuples; complete is the case whose tuples all are."""
        mine = self.window()
        result = [(mine, self.window(BASE))]
        if self.main != "single":
            result.append((self.window(scenario="single"),))
        if self.rival():
            result.append((mine, self.window(self.rival())))
        return result + [(mine, self.window(naive)) for naive in self.naive_plans()]


def read_matrix(path):
    """Returns the cases in order. Raises ValueError with file and line where the matrix is wrong."""
    clusters, cases = {}, []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            words = line.split("#")[0].split()
            try:
                if not words:
                    continue
                if words[0] == "cluster":
                    clusters[words[1]] = Cluster(*words[1:])
                elif words[0] == "case" and words[4] in PLANS:
                    cases.append(Case(words[1], words[2], clusters[words[3]], words[4], words[5:]))
                else:
                    raise ValueError
            except (AttributeError, IndexError, KeyError, TypeError, ValueError):
                raise ValueError(f"{path}:{number}: neither a cluster nor a case: {line.strip()}") from None
    return cases


def groups_of(cases):
    """Cases by group, in the order in which the groups appear."""
    groups = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    return groups
