"""From a group's raw JSON to what the report says of a case: medians over rounds, and each bar met or missed."""
from statistics import median

from matrix import BASE

THROUGHPUT_TOLERANCE = 0.10
LATENCY_TOLERANCE = 0.15
NAIVE_BAR = 0.97


def rate(result):
    return result.get("steady_per_s", result["throughput_per_s"])


def window_rate(window, total=False):
    """Requests per second; of the baseline the mean over the devices, or the sum."""
    rates = [rate(result) for result in window["devices"].values()]
    return sum(rates) if total else sum(rates) / len(rates)


def window_latency_s(window):
    latencies = [result["latency_ms"]["mean"] for result in window["devices"].values()]
    return sum(latencies) / len(latencies) / 1e3


def median_or_none(numbers):
    numbers = list(numbers)
    return median(numbers) if numbers else None


class Check:
    """A bar: what was found, what is asked for. `met` is None where nothing was measured."""

    def __init__(self, name, value, sign, bar):
        self.name, self.value, self.sign, self.bar = name, value, sign, bar
        self.met = None if value is None else value >= bar if sign == ">=" else value <= bar


class Measures:
    """Of one case, over the rounds with windows of at least `seconds`; None where nothing was measured."""

    def __init__(self, case, raw, seconds):
        self.case, self.raw, self.seconds = case, raw, seconds
        self.entries = raw.rounds(seconds)
        self.sessions = raw.data["sessions"]
        mine = self.pick(case.window())
        self.rounds = len(mine)
        latency = case.window() if case.main == "single" else case.window(scenario="single")
        self.throughput_per_s = None if case.main == "single" else median_or_none(window_rate(w) for _, w in mine)
        self.latency_s = median_or_none(window_latency_s(w) for _, w in self.pick(latency))
        throughput = case.window() if case.main == "offline" else None
        self.predicted_per_s, self.throughput_difference, self.first_throughput_difference = self.prediction(
            throughput, "throughput_per_s", window_rate)
        self.predicted_latency_s, self.latency_difference, self.first_latency_difference = self.prediction(
            latency, "latency_s", window_latency_s)
        self.baseline()
        self.naive = [self.against(naive) for naive in case.naive_plans()]
        self.rival = self.against(case.rival()) if case.rival() else None
        self.predicted_anew = sum(case.plan in entry.get("predictions", {}) for entry, _ in mine)
        self.memory()
        self.checks = self.all_checks()

    def pick(self, window):
        """(round, window) of each round that has it."""
        found = ((entry, self.raw.measured(entry, window)) for entry in self.entries)
        return [(entry, result) for entry, result in found if result]

    def plan_of(self, entry):
        return self.raw.session_of(entry)["plans"][self.case.plan]

    def stages(self):
        plans = [session["plans"].get(self.case.plan, {}) for session in self.sessions]
        return next((plan["stages"] for plan in reversed(plans) if "stages" in plan), "")

    def prediction(self, window, key, measure):
        """The rounds' predictions, by how much they differ from what was measured, and by how much those did that were
        made with the plan, minutes to an hour before."""
        if not window:
            return None, None, None
        found = []
        for entry, result in self.pick(window):
            first = self.plan_of(entry)["prediction"]
            now = entry.get("predictions", {}).get(self.case.plan, first)
            found.append((first[key], now[key], measure(result)))
        return (median_or_none(predicted for _, predicted, _ in found),
                median_or_none(predicted / measured - 1 for _, predicted, measured in found),
                median_or_none(first / measured - 1 for first, _, measured in found))

    def speeds(self, other, total=False):
        """(mine, the other's) in each round that has both windows; the larger the quicker."""
        def speed(window, total=False):
            return window_rate(window, total) if self.case.main == "offline" else 1 / window_latency_s(window)
        result = []
        for entry, mine in self.pick(self.case.window()):
            theirs = self.raw.measured(entry, self.case.window(other))
            if theirs:
                result.append((speed(mine), speed(theirs, total)))
        return result

    def baseline(self):
        total = self.case.cluster.is_mixed()
        pairs = self.speeds(BASE, total)
        self.base_speed = median_or_none(base for _, base in pairs)  # per s, or 1 / s
        ratios = [mine / base for mine, base in pairs]
        self.speedup = median_or_none(ratios)  # over the mean, or the sum where devices differ
        self.range = (min(ratios), max(ratios)) if ratios else None

    def against(self, other):
        """{plan, ratio, rounds, note}: my speed over that of another plan."""
        mine, theirs = self.case.window(), self.case.window(other)
        pairs = self.speeds(other)
        both = [entry for entry, _ in self.pick(mine) if self.raw.measured(entry, theirs)]
        same = both and all(self.raw.resolve(self.raw.session_of(entry), mine) ==
                            self.raw.resolve(self.raw.session_of(entry), theirs) for entry in both)
        note = "the same plan" if same else "" if pairs else self.raw.why_not(theirs) or "not measured"
        return {"plan": other, "ratio": median_or_none(my_speed / its_speed for my_speed, its_speed in pairs), "rounds": len(pairs),
                "note": note, "speed": median_or_none(its_speed for _, its_speed in pairs)}

    def memory(self):
        """What the devices took: the peak since the cluster came up, in the first round, before any naive plan ran."""
        windows = self.pick(self.case.window())
        with_memory = [result["memory"] for _, result in windows if "memory" in result]
        self.most_mb = self.limit_mb = None
        if with_memory and None not in with_memory[0]["most_MB"]:
            most = with_memory[0]["most_MB"]
            at = max(range(len(most)), key=lambda i: most[i] / with_memory[0]["limit_MB"][i])
            self.most_mb, self.limit_mb = most[at], with_memory[0]["limit_MB"][at]
        # Also those of windows that failed, for a kill is a failure.
        names = [self.case.window(), self.case.window(scenario="single")]
        all_of_mine = [entry["windows"][self.raw.resolve(self.raw.session_of(entry), name)] for entry in self.entries
                       for name in dict.fromkeys(names)
                       if self.raw.resolve(self.raw.session_of(entry), name) in entry["windows"]]
        self.failed_windows = [window["error"] for window in all_of_mine if "error" in window]
        self.oom_kills = sum(window.get("memory", {}).get("oom_kills", 0) for window in all_of_mine)
        self.swapped_pages = sum(window.get("swapped_pages", 0) for window in all_of_mine)

    def single_fits(self):
        found = [session["plans"][self.case.plan]["prediction"].get("single_fits") for session in self.sessions
                 if "prediction" in session["plans"].get(self.case.plan, {})]
        return found[-1] if found else None

    def all_checks(self):
        checks = []
        if self.case.main == "offline":
            checks.append(Check("predicted throughput", _abs(self.throughput_difference), "<=", THROUGHPUT_TOLERANCE))
        checks.append(Check("predicted latency", _abs(self.latency_difference), "<=", LATENCY_TOLERANCE))
        for name, (sign, bar) in self.case.bars.items():
            if name in ("speedup", "share"):
                checks.append(Check(name, self.speedup, sign, bar))
            elif name == "time":
                checks.append(Check(name, None if self.speedup is None else 1 / self.speedup, sign, bar))
            elif name == "rival":
                checks.append(Check(f"against {self.rival['plan']}", self.rival["ratio"], sign, bar))
            elif name == "tight":
                fits = self.single_fits()
                checks.append(Check("devices that hold it alone", None if fits is None else int(fits), "<=", 0))
        if len(self.case.cluster.cpus) > 1:  # otherwise that is the plan
            checks.append(Check("against one device", self.speedup_over_one(), ">=", NAIVE_BAR))
        for naive in self.naive:
            if naive["ratio"] is not None or naive["note"] == "not measured":
                checks.append(Check(f"against {naive['plan']}", naive["ratio"], ">=", NAIVE_BAR))
        checks.append(Check("OOM kills", self.oom_kills if self.rounds else None, "<=", 0))
        checks.append(Check("swapped pages", self.swapped_pages if self.rounds else None, "<=", 0))
        return checks

    def speedup_over_one(self):
        """Over the quickest device alone. A latency case's baseline is a mean of equal devices."""
        ratios = []
        for entry, mine in self.pick(self.case.window()):
            base = self.raw.measured(entry, self.case.window(BASE))
            if base and self.case.cluster.is_mixed():
                ratios.append(window_rate(mine) / max(rate(result) for result in base["devices"].values()))
        return median_or_none(ratios) if self.case.cluster.is_mixed() else self.speedup

    def failure(self, rounds, naive_rounds):
        """Why the case has not been measured as it should, or ""."""
        if not self.sessions:
            return "not measured"
        plan = self.raw.planned()["plans"].get(self.case.plan, {})
        last = self.sessions[-1].get("error") or plan.get("error")
        if self.rounds < rounds:
            why = last or (self.failed_windows[-1] if self.failed_windows else "")
            return f"{self.rounds} of {rounds} rounds" + (f": {why}" if why else "")
        missing = self.raw.remaining_of_case(self.case, rounds, naive_rounds, self.seconds)
        def why(pair):
            error = self.raw.planning_error(pair)
            return f" ({error})" if error else ""
        return "; ".join(f"{' with '.join(pair)}: {count} round{'s' * (count > 1)} missing{why(pair)}"
                         for pair, count in missing.items())

    def verdict(self, rounds, naive_rounds):
        """met, missed, failed, incomplete or not measured."""
        if not self.sessions:
            return "not measured"
        if self.failure(rounds, naive_rounds):
            failed = self.sessions[-1].get("error") or self.failed_windows or not self.rounds
            return "failed" if failed else "incomplete"
        return "met" if all(check.met for check in self.checks) else "missed"


def _abs(number):
    return None if number is None else abs(number)
