"""The raw JSON of a group: what was planned in each session and measured in each window of each round.

{"format": 1, "group": …, "network": …, "cluster": {"name", "describe"},
 "sessions": [{"date", "commit", "machine", "error"?, "planned"?: all plans were made,
               "plans": {NAME: {"prediction": {…}, "memory_MB", "stages", "same_as"?} | {"error"}}}],
 "rounds": [{"session": index, "seconds": …, "predictions"?: {PLAN: {…}, of the plans as they are, with a profile of this
             round},
             "windows": {"PLAN/SCENARIO": {"devices": {NAME: bench's JSON} | "error", "seconds"?: where longer,
                                           "wall_s", "memory", "swapped_pages"}}}]}

A plan's window has one entry in devices, "cluster"; the baseline's has one for every device.
"""
import json
import os

from matrix import BASE, NAIVE


def to_text(data):
    """A line for each session and each round: small, and a round more is a line more."""
    def one_line(value):
        return json.dumps(value, ensure_ascii=False)
    fields = []
    for key, value in data.items():
        if key in ("sessions", "rounds") and value:
            text = "[\n  " + ",\n  ".join(map(one_line, value)) + "\n ]"
        else:
            text = one_line(value)
        fields.append(f" {one_line(key)}: {text}")
    return "{\n" + ",\n".join(fields) + "\n}\n"


def lacked_memory(entry):
    """Whether that is why a plan or a window failed: the planner or a runner refused it, or the kernel ended it."""
    return "error" in entry and ("memory" in entry["error"] or entry.get("memory", {}).get("oom_kills", 0) > 0)


class Raw:
    def __init__(self, path):
        self.path = path
        self.data = {"format": 1, "sessions": [], "rounds": []}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.data = json.load(file)

    def save(self):
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            file.write(to_text(self.data))
        os.replace(self.path + ".new", self.path)

    def rounds(self, seconds=0):
        return [entry for entry in self.data["rounds"] if entry["seconds"] >= seconds]

    def session_of(self, entry):
        return self.data["sessions"][entry["session"]]

    def planned(self):
        """The last session for which all plans were made, or one without any."""
        return next((session for session in reversed(self.data["sessions"]) if session.get("planned")), {"plans": {}})

    def resolve(self, session, window):
        """The window in which this one is measured: that of an equal plan, if there is one."""
        plan, scenario = window.split("/")
        return f"{session['plans'].get(plan, {}).get('same_as', plan)}/{scenario}"

    def measured(self, entry, window):
        """The window's results in this round, or None."""
        found = entry["windows"].get(self.resolve(self.session_of(entry), window))
        return found if found and "error" not in found else None

    def why_not(self, window, again=False):
        """Why there is nothing for this window, and won't be: "" if it may, or `again` a new session may."""
        if not self.data["sessions"]:
            return ""
        session = self.planned()
        plan = window.split("/")[0]
        if again and plan not in NAIVE:
            return ""
        planned = session["plans"].get(plan, {})
        if plan != BASE and "error" in planned and (plan not in NAIVE or lacked_memory(planned)):
            return planned["error"]
        if plan in NAIVE:  # one for which there isn't the memory isn't tried again
            for entry in self.data["rounds"]:
                found = entry["windows"].get(self.resolve(session, window), {})
                if self.session_of(entry) is session and lacked_memory(found):
                    return found["error"]
        return ""

    def planning_error(self, pair):
        """Why a plan of these windows couldn't be made, or ""."""
        plans = self.planned()["plans"]
        return next((error for window in pair if (error := plans.get(window.split("/")[0], {}).get("error"))), "")

    def remaining(self, pair, rounds, seconds, again):
        """How many rounds more must measure these windows together; `again`: in a new session."""
        if any(self.why_not(window, again) for window in pair):
            return 0
        have = sum(all(self.measured(entry, window) for window in pair) for entry in self.rounds(seconds))
        return max(0, rounds - have)

    def remaining_of_case(self, case, rounds, naive_rounds, seconds, again=False):
        """By pair, without those that are complete."""
        result = {}
        for pair in case.pairs():
            naive = pair[-1].split("/")[0] in NAIVE
            missing = self.remaining(pair, min(rounds, naive_rounds) if naive else rounds, seconds, again)
            if missing > 0:
                result[pair] = missing
        return result
