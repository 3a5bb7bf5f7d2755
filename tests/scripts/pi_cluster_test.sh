#!/usr/bin/env bash
# What scripts/pi-cluster promises, on a cluster of its own beside any other. See usage() below.
set -euo pipefail
export LC_ALL=C

usage() {
  cat <<'USAGE'
Usage: tests/scripts/pi_cluster_test.sh BIN

Takes scripts/pi-cluster through its life with the programs in the folder BIN: up, a network computed on it, what goes
wrong with devices and is healed, what is refused, and that nothing is left over, also after kill -9. Ends at the
first thing that isn't so. Exit code: 0 all as promised, 1 not, 2 wrong usage, 77 skipped: it can't be tried here.
USAGE
}

(($# == 1)) || { usage >&2; exit 2; }
[[ $1 != --help && $1 != -h ]] || { usage; exit 0; }
bin=$(realpath -- "$1")
script=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/../../scripts/pi-cluster
export PI_CLUSTER_PREFIX=t$$
state=/var/lib/pi-cluster/$PI_CLUSTER_PREFIX
scratch=$(mktemp -d)
output=$scratch/output
errors=$scratch/errors
trap '"$script" down >/dev/null 2>&1 || true; rm -rf -- "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

skip() { echo "pi_cluster_test: skipped: $*"; exit 77; }
wrong() {
  printf 'pi_cluster_test: line %s: %s\n' "${BASH_LINENO[-2]}" "$*" >&2
  head -n 20 -- "$output" "$errors" >&2 || true
  exit 1
}
step() { echo "$(printf '%3d' "$SECONDS") s  $*"; }

# runs COMMAND…: it must succeed.  fails CODE PATTERN COMMAND…: with this exit code, and one line that says why.
runs() { "$@" >"$output" 2>"$errors" || wrong "exit code $?: $*"; }
fails() {
  local code=$1 pattern=$2 found=0
  shift 2
  "$@" >"$output" 2>"$errors" || found=$?
  ((found == code)) || wrong "exit code $found instead of $code: $*"
  [[ -z $pattern ]] || grep -qE -- "$pattern" "$errors" || wrong "its error doesn't match \"$pattern\": $*"
  ((code != 1 || $(wc -l <"$errors") == 1)) || wrong "its error isn't one line: $*"
}
eventually() {  # COMMAND…: becomes true
  local deadline=$((SECONDS + 10))
  until "$@" >"$output" 2>"$errors"; do
    ((SECONDS < deadline)) || wrong "still not so after 10 s: $*"
    sleep 0.02
  done
}

column() {  # NAME COLUMN: of the table that status prints
  "$script" status | awk -v name="$1" -v column="$2" '
    NR == 1 { for (i = 1; i <= NF; ++i) if ($i == column) at = i } $1 == name { print $at }'
}
is() { local found; found=$(column "$1" "$2"); [[ $found == "$3" ]] || wrong "$1: $2 is \"$found\" instead of \"$3\""; }
reachable() { timeout 1 bash -c "exec 3<>/dev/tcp/$1/7070" 2>/dev/null; }
unreachable() { ! reachable "$1"; }
address() { sed -nE "s|.*name: $1, address: 'tcp://([0-9.]+):.*|\1|p" "$cluster"; }

nothing_left() {
  local found
  found=$(
    ip netns list | grep -E "^$PI_CLUSTER_PREFIX(-|\$| )" || true
    ip -oneline link | grep -F ": ${PI_CLUSTER_PREFIX}0" || true
    find /sys/fs/cgroup -maxdepth 2 -name "pi-cluster.$PI_CLUSTER_PREFIX"
    ! ls -d "$state" 2>/dev/null
    # Whoever inherits a process that has ended may not have noticed yet (Z).
    for pid in "$@"; do grep -sE '^(Name|State|Pid):' "/proc/$pid/status" | paste -s | grep -v 'State:.Z' || true; done
  )
  [[ -z $found ]] || wrong "left over: $found"
}

# Whether this machine can do it at all, before the script is asked.
((EUID == 0)) || skip "it needs root"
for tool in ip tc taskset chrt setsid flock; do command -v "$tool" >/dev/null || skip "$tool isn't installed"; done
controllers=$(awk '$3 == "cgroup" { print $4 }' /proc/mounts)
while read -r folder; do controllers+=" $(cat "$folder/cgroup.controllers")"; done < <(
  awk '$3 == "cgroup2" { print $2 }' /proc/mounts)
[[ $controllers =~ (^|[ ,])cpu($|[ ,$'\n']) && $controllers =~ (^|[ ,$'\n'])memory($|[ ,$'\n']) ]] ||
  skip "the cgroup controllers cpu and memory aren't there"
{
  ip netns add "$PI_CLUSTER_PREFIX-" && ip -n "$PI_CLUSTER_PREFIX-" link add name b type bridge &&
    ip -n "$PI_CLUSTER_PREFIX-" link add name a type veth peer name c &&
    tc -n "$PI_CLUSTER_PREFIX-" qdisc add dev a root tbf rate 1mbit burst 3000b limit 10000b
} 2>"$errors" || skip "no namespaces, bridges, veth or tbf: $(tail -n 1 "$errors")"

step "refusals"
runs "$script" down
nothing_left
runs "$script" --help
fails 2 "Usage" "$script"
fails 2 "unknown command" "$script" fly
fails 2 "doesn't know --speed" "$script" up --speed 3
fails 2 "expects a value" "$script" up --devices
fails 2 "expects --devices" "$script" up --devices none
fails 2 "exclude each other" "$script" up --devices 1 --spec "$errors"
fails 2 "like 10%" "$script" up --devices 1 --cpu 10
fails 2 "like 900MB" "$script" up --devices 1 --memory much
fails 2 "expected huge or small" "$script" up --devices 1 --pages large
fails 2 "small letter" "$script" down --prefix UP/../
fails 2 "expects NAME" "$script" kill
fails 2 "expects NAME COMMAND" "$script" exec pi1
fails 1 "800 us of each 20000 us" "$script" up --devices 1 --cpu 4%
fails 1 "more than a core" "$script" up --devices 1 --cpu 101%
fails 1 "adds up to .* coordinator needs 25%" "$script" up --devices "$(nproc)" --cpu 100%
(($(nproc) < 2)) || fails 1 "can't be spread" "$script" up --devices "$(($(nproc) + 1))" --cpu 55%
fails 1 "at least 0.1" "$script" up --devices 1 --bandwidth-mbps 0
fails 1 "without memory" "$script" up --devices 1 --memory 0MB
fails 1 "onnx-split-runner isn't there" "$script" up --devices 1 --bin "$scratch"
fails 1 "cannot read" "$script" up --spec "$scratch/none"
printf 'a cpu=10%%\n\na\n' >"$scratch/spec"
fails 1 "spec:3: two devices are named a" "$script" up --spec "$scratch/spec"
echo 'a speed=3' >"$scratch/spec"
fails 1 "spec:1: expected cpu=" "$script" up --spec "$scratch/spec"
fails 1 "no cluster is up" "$script" status
nothing_left

step "an up whose runner doesn't start"
mkdir "$scratch/bin"
printf '#!/bin/sh\necho "no such luck" >&2\nexit 3\n' >"$scratch/bin/onnx-split-runner"
chmod +x "$scratch/bin/onnx-split-runner"
fails 1 "pi1's runner doesn't listen: no such luck" "$script" up --devices 2 --bin "$scratch/bin"
nothing_left
fails 1 "the kernel killed it" "$script" up --devices 1 --memory 1MB --bin "$bin"
nothing_left

step "up"
cluster=$scratch/cluster.yaml
cat >"$scratch/spec" <<'SPEC'
# three devices
pi1
pi2 cpu=12.5% memory=48MB   # small
pi3 bandwidth-mbps=94
SPEC
runs "$script" up --spec "$scratch/spec" --cpu 20% --memory 400MB --output "$cluster" --bin "$bin"
grep -qF "$cluster" "$output" || wrong "it doesn't say where the cluster file is"
fails 1 "up already" "$script" up --devices 1 --bin "$bin"
for name in pi1 pi2 pi3; do is $name state alive; is $name link up; is $name oom 0; done
is pi1 cpu 20%
is pi2 cpu 12.5%
is pi2 limit_MB 48.0
is pi3 Mbit/s 94
fails 1 "no device is named pi4; there are: pi1 pi2 pi3" "$script" kill pi4
# 94 Mbit/s of payload are 98.3 Mbit/s of frames, at either end of the link.
for link in "$PI_CLUSTER_PREFIX p3" "$PI_CLUSTER_PREFIX-pi3 eth0"; do
  tc -n "${link% *}" qdisc show dev "${link#* }" | grep -q 'tbf .*rate 9828.*Kbit' || wrong "pi3's link isn't shaped"
done
runs "$bin/onnx-split" status --cluster "$cluster"

step "a network on it"
runs "$bin/onnx-split" zoo squeezenet1_1 -o "$scratch/model.onnx"
runs "$bin/onnx-split" run "$scratch/model.onnx" --threads 1 --input random:1 --output "$scratch/whole.npy"
runs timeout 60 "$bin/onnx-split" run "$scratch/model.onnx" --cluster "$cluster" --input random:1 \
  --output "$scratch/cut.npy"
cmp "$scratch/whole.npy" "$scratch/cut.npy" || wrong "the cluster computes something else"
runs timeout 60 "$bin/onnx-split" bench "$scratch/model.onnx" --cluster "$cluster" --requests 3 --warm-up 0
[[ $(column pi1 throttled) -gt 0 ]] || wrong "pi1 had no need of more than its quota"

step "exec"
[[ $("$script" exec pi1 nproc) == 1 ]] || wrong "pi1 has more than a core"
[[ $("$script" exec pi1 ip -o -4 address show dev eth0) == *"$(address pi1)/24"* ]] || wrong "not in pi1's namespace"
[[ $(echo "in and out" | "$script" exec pi1 cat) == "in and out" ]] || wrong "stdin and stdout aren't passed on"
fails 7 "^aside$" "$script" exec pi1 bash -c 'echo aside >&2; exit 7'
runs "$script" exec pi1 onnx-split --version
before=$(column pi1 cpu_s)
begin=$EPOCHREALTIME
fails 124 "" "$script" exec pi1 timeout 1 bash -c 'while :; do :; done'
awk -v before="$before" -v after="$(column pi1 cpu_s)" -v begin="$begin" -v end="$EPOCHREALTIME" '
  BEGIN { share = (after - before) / (end - begin); exit !(share > 0.05 && share < 0.23) }' ||
  wrong "pi1 took another share of its core than 20%"
hog='head -c 100000000 /dev/zero | tail -n 1 >/dev/null'
fails 137 "" "$script" exec pi2 bash -c "set -o pipefail; $hog"
[[ $(column pi2 oom) -gt 0 ]] || wrong "pi2's memory isn't limited"
runs "$script" exec --no-memory-limit pi2 bash -c "$hog"
is pi2 state alive

step "pause, cut, kill, and heal"
runs "$script" pause pi1
is pi1 state paused
runs "$script" heal pi1
is pi1 state alive
runs "$script" cut pi3
is pi3 link down
eventually unreachable "$(address pi3)"
runs "$script" heal pi3
is pi3 link up
eventually reachable "$(address pi3)"
pid=$(column pi2 pid)
runs "$script" kill pi2
is pi2 state dead
unreachable "$(address pi2)" || wrong "pi2 is there although it was killed"
fails 1 "isn't running" "$script" kill pi2
fails 1 "isn't running" "$script" pause pi2
runs "$script" heal pi2
is pi2 state alive
[[ $(column pi2 pid) != "$pid" ]] || wrong "pi2's runner isn't a new one"
runs timeout 60 "$bin/onnx-split" run "$scratch/model.onnx" --cluster "$cluster" --input random:1 \
  --output "$scratch/again.npy"
cmp "$scratch/whole.npy" "$scratch/again.npy" || wrong "the healed cluster computes something else"

step "down"
runs "$script" pause pi3
"$script" exec pi1 sleep 1000 &
sleeper=$!
disown $sleeper
eventually grep -q '^sleep$' /proc/$sleeper/comm
pids=("$sleeper" "$(column pi1 pid)" "$(column pi2 pid)" "$(column pi3 pid)")
runs "$script" down
nothing_left "${pids[@]}"
[[ -e $cluster ]] || wrong "a file of the user's went with the cluster"

# A tensor, or 1 MiB of a part file, keeps these links busy for about as long as a device may be silent, or longer.
step "slow links"
runs "$script" up --devices 2 --cpu 50% --memory 400MB --bandwidth-mbps 10 --output "$cluster" --bin "$bin"
printf 'stages:\n  - {until: [features.1], devices: [pi1]}\n  - {devices: [pi2]}\n' >"$scratch/stages.yaml"
runs "$bin/onnx-split" plan "$scratch/model.onnx" --cluster "$cluster" --stages "$scratch/stages.yaml" \
  -o "$scratch/plan.json"
runs timeout 120 "$bin/onnx-split" bench "$scratch/model.onnx" --cluster "$cluster" --plan "$scratch/plan.json" \
  --scenario offline --requests 4 --warm-up 0
[[ ! -s $errors ]] || wrong "a device was lost, or something else was"
runs "$script" down
nothing_left

step "small pages"
runs "$script" up --devices 1 --pages small --output "$cluster" --bin "$bin"
small() { grep -qE '^THP_enabled:[[:space:]]*0$' "/proc/$1/status" || wrong "the process $1 may have huge pages"; }
small "$(column pi1 pid)"
runs "$script" exec pi1 grep -E '^THP_enabled:[[:space:]]*0$' /proc/self/status
fails 127 "/nowhere: No such file" "$script" exec pi1 /nowhere
runs "$script" kill pi1
runs "$script" heal pi1
small "$(column pi1 pid)"
runs "$script" down
nothing_left

# killed WHEN…: an up that is killed by -9 as soon as the command is true.
killed() {
  "$script" up --devices 3 --bin "$bin" >"$output" 2>"$errors" &
  local up=$!
  until "$@" 2>/dev/null; do kill -0 $up 2>/dev/null || wrong "up had ended before it could be killed"; done
  kill -KILL $up
  wait $up 2>/dev/null || true
}
runner_began() {
  [[ -n $(find /sys/fs/cgroup -path "*/pi-cluster.$PI_CLUSTER_PREFIX/*" -name cgroup.procs -exec cat {} +) ]]
}

step "kill -9 of up, and down"
killed test -e "$state"
runs "$script" down
nothing_left
killed test -e "/run/netns/$PI_CLUSTER_PREFIX-pi2"
fails 1 "no cluster is up" "$script" status
runs "$script" down
nothing_left
killed runner_began
runs "$script" down
nothing_left
step "kill -9 of up, and up; SIGTERM"
killed runner_began
runs "$script" up --devices 2 --bin "$bin"
grep -q "left behind" "$errors" || wrong "it doesn't say that it cleans up"
is pi2 state alive
runs "$script" down
nothing_left
"$script" up --devices 3 --bin "$bin" >"$output" 2>"$errors" &
up=$!
eventually test -e "/run/netns/$PI_CLUSTER_PREFIX-pi1"
kill -TERM $up
status=0
wait $up || status=$?
((status == 143)) || wrong "exit code $status after SIGTERM"
nothing_left
step "all as promised"
