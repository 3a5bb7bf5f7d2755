#!/usr/bin/env bash
# What scripts/cluster-benchmark makes of raw JSON. See usage() below.
set -euo pipefail
export LC_ALL=C

usage() {
  cat <<'USAGE'
Usage: tests/scripts/cluster_benchmark_test.sh

Lets scripts/cluster-benchmark report on the canned measurements in cluster_benchmark/, whose medians can be worked out
by hand, and checks the page, the plots, the verdicts, what is left to measure, and the naive plans. Measures nothing.
Exit code: 0 all as promised, 1 not, 2 wrong usage, 77 skipped: python3 or gnuplot is missing.
USAGE
}

[[ ${1-} != --help && ${1-} != -h ]] || { usage; exit 0; }
(($# == 0)) || { usage >&2; exit 2; }
for tool in python3 gnuplot; do
  command -v "$tool" >/dev/null || { echo "cluster_benchmark_test: skipped: $tool isn't installed"; exit 77; }
done
here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
script=$here/../../scripts/cluster-benchmark
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
out=$scratch/docs/performance
page=$scratch/docs/performance.md
mkdir -p -- "$out"
cp -- "$here"/cluster_benchmark/*.json "$out"

wrong() {
  printf 'cluster_benchmark_test: line %s: %s\n' "${BASH_LINENO[-2]}" "$*" >&2
  head -n 80 -- "$scratch/output" "$scratch/errors" "$page" >&2 || true
  exit 1
}
# ends CODE ARGUMENT…: the script ends with this exit code.
ends() {
  local found=0
  "$script" --matrix "$here/cluster_benchmark/matrix" --out "$out" --page "$page" "${@:2}" \
    >"$scratch/output" 2>"$scratch/errors" || found=$?
  ((found == $1)) || wrong "exit code $found instead of $1: $*"
}
has() { grep -qxF -- "$2" "$1" || wrong "no line \"$2\" in ${1##*/}"; }

# Other sections stay, and writing again changes nothing.
printf '# Performance\n\n## Kernels\nAs fast as can be.\n' >"$page"
ends 1 --report
has "$page" '## Kernels'
has "$page" 'As fast as can be.'
printf '\n## After\n' >>"$page"
cp -- "$page" "$scratch/first"
ends 1 --report
cmp -s -- "$page" "$scratch/first" || wrong "a second report differs from the first"

# Medians over the rounds, ratios within them; the round of 15 s doesn't count.
has "$page" '| lenet-2 | 2.1 | 2 | +5.0 % met | +5.0 % | 1 | 2 (1.60–2.20) | ≥ 1.8 | met |'
has "$page" '| lenet-mixed | 2.4 | 2.4 | +0.0 % met | +0.0 % | 3 | 0.8 (0.80–0.80) | ≥ 0.75 | met |'
has "$page" '| lenet-2-latency | 500 ms | 625 ms | -20.0 % **missed** | -20.0 % | 1 s | 0.625 | ≤ 0.5 | **missed** |'
has "$page" "| lenet-2 | 0.900 **missed** | doesn't run | the same plan | 2 | – |"
has "$page" '- lenet-2, equal-layers: no memory \| at all'
has "$page" '| lenet-mixed | 64 | 60 | 1 | 0 | no |'
has "$page" 'Cases: 2 missed, 1 failed.'
has "$scratch/output" 'missed        lenet-2: against equal-macs 0.9, bar >= 0.97'
has "$scratch/output" 'failed        lenet-mixed: 4 of 5 rounds: bench: exit code 1: lost pi2'

# With the rounds there are, the failed window still counts: it was a kill.
ends 1 --report --rounds 4 --only mixed
has "$scratch/output" 'missed        lenet-mixed: OOM kills 1, bar <= 0'

for plot in scaling throughput latency bars; do
  grep -q '</svg>' "$out/cluster-$plot.svg" || wrong "no plot cluster-$plot.svg"
  python3 -m json.tool "$out/cluster-$plot.json" >/dev/null || wrong "cluster-$plot.json isn't JSON"
  grep -qF "](performance/cluster-$plot.svg)" "$page" || wrong "the page doesn't show cluster-$plot.svg"
done

# A round's own prediction counts where it has one.
echo '{"prediction": {"throughput_per_s": 2.2, "latency_s": 0.625, "rates": []}}' >"$scratch/latency.round.json"
python3 "$here/../../scripts/cluster-benchmark.d/record.py" predicted --out "$out" --group lenet-pair \
  --plans "$scratch" --plan latency
python3 - "$out/lenet-pair.json" <<'PYTHON'
import json, sys
with open(sys.argv[1], encoding="utf-8") as file:
    data = json.load(file)
assert data["rounds"][-1]["predictions"] == {"latency": {"throughput_per_s": 2.2, "latency_s": 0.625}}
for entry in data["rounds"][1:4]:  # not in all
    entry["predictions"] = data["rounds"][-1]["predictions"]
with open(sys.argv[1], "w", encoding="utf-8") as file:
    json.dump(data, file)
PYTHON
ends 1 --report --only lenet-2-latency
has "$page" '| lenet-2-latency | 625 ms | 625 ms | +0.0 % met | -20.0 % | 1 s | 0.625 | ≤ 0.5 | **missed** |'

# What is left to measure: one round of one case, and its naive plans not, which don't fit.
ends 0 --list --resume
grep -qE '^lenet-pair +lenet-2, lenet-2-latency +0 ' "$scratch/output" || wrong "lenet-pair isn't complete"
grep -qE '^lenet-mixed +lenet-mixed +3 ' "$scratch/output" || wrong "lenet-mixed doesn't lack three windows"
ends 0 --list --resume --seconds 90
grep -qE '^lenet-pair +lenet-2, lenet-2-latency +35 ' "$scratch/output" || wrong "shorter windows count"

# A naive plan that failed is measured again, unless there isn't the memory for it.
fail_once() {  # ERROR: of the naive plan in the fifth round
  python3 - "$here/cluster_benchmark/lenet-pair.json" "$out/lenet-pair.json" "$1" <<'PYTHON'
import json, sys
with open(sys.argv[1], encoding="utf-8") as file:
    data = json.load(file)
data["rounds"][4]["windows"]["equal-macs/offline"] = {"error": sys.argv[3], "wall_s": 1.0, "swapped_pages": 0}
with open(sys.argv[2], "w", encoding="utf-8") as file:
    json.dump(data, file)
PYTHON
}
fail_once 'device "pi1": the connection broke'
ends 0 --list --resume
grep -qE '^lenet-pair +lenet-2, lenet-2-latency +2 ' "$scratch/output" || wrong "the failed window isn't measured again"
ends 1 --report --only lenet-2$
has "$scratch/output" \
  'incomplete    lenet-2: default/offline with equal-macs/offline: 1 round missing'
ends 1 --report --only lenet-2$ --naive-rounds 4
has "$scratch/output" 'missed        lenet-2: against equal-macs 0.9, bar >= 0.97'
python3 - "$out/lenet-pair.json" <<'PYTHON'
import json, sys
with open(sys.argv[1], encoding="utf-8") as file:
    data = json.load(file)
data["sessions"].append({"date": "2026-01-09", "commit": "def5678", "machine": "a machine", "error": "no cluster",
                         "plans": {"default": data["sessions"][0]["plans"]["equal-macs"]}})
with open(sys.argv[1], "w", encoding="utf-8") as file:
    json.dump(data, file)
PYTHON
ends 1 --report --only lenet-2$  # a session that came to nothing changes nothing
grep -qE '^failed +lenet-2: default/offline with equal-macs/offline: 1 round missing$' "$scratch/output" ||
  wrong "a case with a missing window passes"
python3 - "$here/cluster_benchmark/lenet-pair.json" "$out/lenet-pair.json" <<'PYTHON'
import json, sys
with open(sys.argv[1], encoding="utf-8") as file:
    data = json.load(file)
again = json.loads(json.dumps(data["sessions"][0]))
again["plans"]["equal-macs"]["same_as"] = "default"
data["sessions"].append(again)
with open(sys.argv[2], "w", encoding="utf-8") as file:
    json.dump(data, file)
PYTHON
ends 1 --report --only lenet-2$  # that a later session's plans are equal doesn't change what was measured of others
has "$scratch/output" 'missed        lenet-2: against equal-macs 0.9, bar >= 0.97'
fail_once 'device "pi1": the parts need 2 bytes, the memory limit is 1'
ends 0 --list --resume
grep -qE '^lenet-pair +lenet-2, lenet-2-latency +0 ' "$scratch/output" || wrong "what doesn't fit is tried again"

# A naive plan that couldn't be made isn't run in that session; the next one tries again, and the report says why.
fail_once 'device "pi1": the connection broke'
python3 - "$out/lenet-pair.json" <<'PYTHON'
import json, sys
with open(sys.argv[1], encoding="utf-8") as file:
    data = json.load(file)
again = json.loads(json.dumps(data["sessions"][0]))
del again["planned"]
again["plans"]["equal-macs"] = {"error": "not done after 1800 s"}
data["sessions"].append(again)
with open(sys.argv[1], "w", encoding="utf-8") as file:
    json.dump(data, file)
PYTHON
python3 "$here/../../scripts/cluster-benchmark.d/record.py" todo --matrix "$here/cluster_benchmark/matrix" \
  --out "$out" --group lenet-pair --rounds 5 --naive-rounds 5 --seconds 60 >"$scratch/output"
[[ ! -s $scratch/output ]] || wrong "a plan that doesn't exist is to be run"
ends 0 --list --resume
grep -qE '^lenet-pair +lenet-2, lenet-2-latency +2 ' "$scratch/output" || wrong "the plan isn't tried again"
ends 1 --report --only lenet-2$
has "$scratch/output" \
  'incomplete    lenet-2: default/offline with equal-macs/offline: 1 round missing (not done after 1800 s)'

# A window that is too short for the rate of a full pipeline says so.
echo '{"requests": 3, "throughput_per_s": 1.0, "latency_ms": {"mean": 1.0}}' >"$scratch/bench.json"
python3 "$here/../../scripts/cluster-benchmark.d/record.py" window --out "$out" --group lenet-pair \
  --window default/offline cluster="$scratch/bench.json" >"$scratch/output"
grep -qF 'FAILED: too few results' "$scratch/output" || wrong "a window without a steady rate counts"

# It is as long as the plan's pipeline needs, and never shorter than asked for: 3 windows and 2 requests.
mkdir -- "$scratch/plans"
planned() { echo "{\"window\": 7, \"prediction\": {\"throughput_per_s\": $2}}" >"$scratch/plans/$1.json"; }
planned default 0.25
planned quick 100
planned slower-now 0.25
planned slower-now.round 0.2
planned hopeless 0.03
for wanted in default/offline:92 default/single:60 base/offline:60 quick/offline:60 slower-now/offline:115; do
  found=$(python3 "$here/../../scripts/cluster-benchmark.d/record.py" duration --window "${wanted%:*}" --seconds 60 \
    --plans "$scratch/plans")
  [[ $found == "${wanted#*:}" ]] || wrong "the window ${wanted%:*} lasts $found s"
done
if python3 "$here/../../scripts/cluster-benchmark.d/record.py" duration --window hopeless/offline --seconds 60 \
  --plans "$scratch/plans" >"$scratch/output" 2>&1; then
  wrong "a window lasts more than ten times as long"
fi
has "$scratch/output" 'cluster-benchmark: ValueError: 23 results, which tell the rate, take too long at 0.03 per s'

# Naive plans: five layers of 4, 1, 1, 2 and 4 MACs on three devices.
cat >"$scratch/inspect.json" <<'JSON'
{"nodes": [{"output": "in", "macs": 0, "weight_bytes": 0}, {"output": "a", "macs": 4, "weight_bytes": 1},
  {"output": "a.relu", "macs": 0, "weight_bytes": 0}, {"output": "b", "macs": 1, "weight_bytes": 1},
  {"output": "c", "macs": 1, "weight_bytes": 1}, {"output": "d", "macs": 2, "weight_bytes": 1},
  {"output": "e", "macs": 4, "weight_bytes": 1}, {"output": "out", "macs": 0, "weight_bytes": 0}]}
JSON
python3 "$here/../../scripts/cluster-benchmark.d/record.py" naive --inspect "$scratch/inspect.json" --devices 3 \
  --plans "$scratch" >"$scratch/output"
has "$scratch/equal-macs.yaml" '  - {until: "a.relu", devices: [pi1]}'
has "$scratch/equal-macs.yaml" '  - {until: "d", devices: [pi2]}'
has "$scratch/equal-layers.yaml" '  - {until: "b", devices: [pi1]}'
has "$scratch/equal-layers.yaml" '  - {until: "c", devices: [pi2]}'
has "$scratch/all-replicas.yaml" '  - {replicas: 3, devices: [pi1, pi2, pi3]}'

ends 2 --rounds 0
echo 'case lenet-2 lenet nowhere default' >"$scratch/bad"
ends 1 --list --matrix "$scratch/bad"
grep -qF "$scratch/bad:1: neither a cluster nor a case" "$scratch/errors" || wrong "doesn't say where it is wrong"
echo "all as promised"
