# A runner for each device, and what its process does.
# shellcheck shell=bash disable=SC2034,SC2154  # the variables are those of ../pi-cluster

# process_state PID START: alive, paused or dead. A process is known by its start time too: numbers are used again.
process_state() {
  local text
  local -a fields
  REPLY=dead
  text=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  read -ra fields <<<"${text##*) }"
  [[ ${fields[19]} == "$2" ]] || return 0
  case "${fields[0]}" in
    Z | X) ;;
    T | t) REPLY=paused ;;
    *) REPLY=alive ;;
  esac
}

start_time() {
  local text
  local -a fields
  text=$(cat "/proc/$1/stat" 2>/dev/null) || { REPLY=0; return; }
  read -ra fields <<<"${text##*) }"
  REPLY=${fields[19]}
}

runner_pid='' runner_start=''
runner_state() {  # NAME
  runner_pid='' runner_start=''
  read -r runner_pid runner_start 2>/dev/null <"$state/devices/$1/pid" || { REPLY=dead; return; }
  process_state "$runner_pid" "$runner_start"
}

# on_it: what a command on the device begins with. Devices share cores, and machines of their own don't interrupt each
# other: in the batch class nobody who wakes up does (vgg16 divided over 8: 3 % more a second).
on_it=()
command_on() {  # NAME
  on_it=(taskset --cpu-list "${core[$1]}" chrt --batch 0 nsenter --net="/run/netns/$prefix-$1")
  [[ $pages == small ]] || return 0
  local prctl=157
  [[ $(uname -m) != aarch64 ]] || prctl=167
  # PR_SET_THP_DISABLE; what it executes inherits it.
  # shellcheck disable=SC2016  # the variables are perl's
  on_it+=(perl -e 'syscall(shift, 41, 1, 0, 0, 0) == 0 or die "pi-cluster: cannot do without huge pages: $!\n";
                   exec @ARGV; warn "pi-cluster: $ARGV[0]: $!\n"; exit 127' "$prctl")
}

start_runner() {  # NAME
  local name=$1 folder=$state/devices/$1
  rm -rf -- "$folder/parts" "$folder/pid"
  mkdir -p "$folder/parts"
  : >"$folder/stdout"
  (
    # `ip netns exec` would mount another /sys, in which the runner couldn't read its quota. Until we are in the
    # cgroup we hold the lock, so that no `down` can miss us, whatever becomes of the script.
    enter_cgroup "$name" limited
    exec 9>&-
    cd /
    command_on "$name"
    exec setsid "${on_it[@]}" "$bin/onnx-split-runner" --listen "tcp://$(address "$name"):$port" --insecure \
      --name "$name" --threads 1 --memory-limit "${memory_bytes[$name]}B" --model-dir "$folder/parts"
  ) </dev/null >>"$folder/stdout" 2>>"$folder/log" &
  disown $!  # the shell shall not report how it ends
  start_time $!
  echo "$! $REPLY" >"$folder/pid"
}

await_runner() {  # NAME
  local name=$1 folder=$state/devices/$1 deadline=$((SECONDS + 30)) words
  until grep -q '^listening on ' "$folder/stdout"; do
    runner_state "$name"
    if [[ $REPLY == dead ]] || ((SECONDS >= deadline)); then
      words=$(tail -n 3 -- "$folder/log" | paste -s -d ' ')
      oom_kills "$name"
      ((REPLY == 0)) || words+="${words:+; }the kernel killed it for want of memory"
      fail "$name's runner doesn't listen: ${words:-its log is empty}"
    fi
    sleep 0.05
  done
}

field() { awk -v key="$2" '$1 == key { print $2; found = 1 } END { if (!found) print 0 }' "$1" 2>/dev/null || echo 0; }

oom_kills() {  # NAME
  if [[ $cgroup_kind == v1 ]]; then
    REPLY=$(field "$memory_tree/$group/$1/memory.oom_control" oom_kill)
  else
    REPLY=$(field "$v2_tree/$group/$1/limited/memory.events" oom_kill)
  fi
}
