# Quotas and memory limits. cgroup v1 has a tree for each controller, v2 one for all.
# shellcheck shell=bash disable=SC2034,SC2154  # the variables are those of ../pi-cluster

cgroup_kind='' cpu_tree='' cpuacct_tree='' memory_tree='' v2_tree=''

look_for_cgroups() {
  local folder type options
  while read -r _ folder type options _; do
    case "$type" in
      cgroup)
        [[ ,$options, != *,cpu,* ]] || cpu_tree=$folder
        [[ ,$options, != *,cpuacct,* ]] || cpuacct_tree=$folder
        [[ ,$options, != *,memory,* ]] || memory_tree=$folder
        ;;
      cgroup2)
        if grep -qw cpu "$folder/cgroup.controllers" && grep -qw memory "$folder/cgroup.controllers"; then
          v2_tree=$folder
        fi
        ;;
    esac
  done </proc/mounts
  if [[ -n $cpu_tree && -n $memory_tree ]]; then
    cgroup_kind=v1
  elif [[ -n $v2_tree ]]; then
    cgroup_kind=v2 cpu_tree=$v2_tree memory_tree=$v2_tree
  fi
}

find_cgroups() {
  look_for_cgroups
  if [[ -z $cgroup_kind ]] && ! grep -qE '^[^ ]+ [^ ]+ cgroup2? ' /proc/mounts &&
    mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null; then
    echo "pi-cluster: mounted cgroup2 at /sys/fs/cgroup, where nothing was; it stays" >&2
    look_for_cgroups
  fi
  [[ -n $cgroup_kind ]] || fail "the cgroup controllers cpu and memory aren't available (see /proc/cgroups)"
}

put() { echo "$2" 2>/dev/null >"$1" || fail "cannot write $2 to $1"; }
put_if_there() { [[ ! -e $1 ]] || put "$1" "$2"; }

# A quota is what a device may take at most, and shall also get: whatever else runs here comes after all devices.
make_cluster_cgroup() {
  if [[ $cgroup_kind == v1 ]]; then
    mkdir -p "$cpu_tree/$group" "$memory_tree/$group" ${cpuacct_tree:+"$cpuacct_tree/$group"}
    put "$cpu_tree/$group/cpu.shares" 262144
  else
    # On a container's own root this fails: there processes and controllers can't be in one cgroup.
    put "$v2_tree/cgroup.subtree_control" "+cpu +memory"
    mkdir -p "$v2_tree/$group"
    put "$v2_tree/$group/cgroup.subtree_control" "+cpu +memory"
    put "$v2_tree/$group/cpu.weight" 10000
  fi
}

make_device_cgroup() {  # NAME
  local name=$1 folder
  if [[ $cgroup_kind == v1 ]]; then
    mkdir -p "$cpu_tree/$group/$name" "$memory_tree/$group/$name" ${cpuacct_tree:+"$cpuacct_tree/$group/$name"}
    put "$cpu_tree/$group/$name/cpu.cfs_period_us" "$period_us"
    put "$cpu_tree/$group/$name/cpu.cfs_quota_us" "${quota_us[$name]}"
    folder=$memory_tree/$group/$name
    put "$folder/memory.limit_in_bytes" "${memory_bytes[$name]}"
    put_if_there "$folder/memory.memsw.limit_in_bytes" "${memory_bytes[$name]}"
    put_if_there "$folder/memory.swappiness" 0
  else
    # Only leaves have processes. The limit is a leaf's, so that exec can do without it and still share the quota.
    mkdir -p "$v2_tree/$group/$name"
    put "$v2_tree/$group/$name/cpu.max" "${quota_us[$name]} $period_us"
    put "$v2_tree/$group/$name/cgroup.subtree_control" "+memory"
    folder=$v2_tree/$group/$name/limited
    mkdir -p "$folder" "$v2_tree/$group/$name/unlimited"
    put "$folder/memory.max" "${memory_bytes[$name]}"
    put_if_there "$folder/memory.swap.max" 0
  fi
}

enter_cgroup() {  # NAME limited|unlimited: takes this process there
  if [[ $cgroup_kind == v1 ]]; then
    put "$cpu_tree/$group/$1/cgroup.procs" "$BASHPID"
    [[ -z $cpuacct_tree ]] || put "$cpuacct_tree/$group/$1/cgroup.procs" "$BASHPID"
    [[ $2 == unlimited ]] || put "$memory_tree/$group/$1/cgroup.procs" "$BASHPID"
  else
    put "$v2_tree/$group/$1/$2/cgroup.procs" "$BASHPID"
  fi
}

cluster_cgroups() {
  local tree
  for tree in "$cpu_tree" "$cpuacct_tree" "$memory_tree" "$v2_tree"; do
    [[ -z $tree || ! -d $tree/$group ]] || echo "$tree/$group"
  done | sort -u
}

members() {  # CGROUP: the processes in it and below it
  find "$1" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un | grep -vxE "0|$$" || true
}

# shellcheck disable=SC2086  # $pids are several words
remove_cgroups() {
  local folder pids deadline=$((SECONDS + 10))
  for folder in $(cluster_cgroups); do
    while true; do
      pids=$(members "$folder")
      [[ -z $pids ]] || kill -KILL $pids 2>/dev/null || true
      [[ -n $pids ]] || ! find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || break
      ((SECONDS < deadline)) || fail "cannot remove $folder; processes in it:" ${pids:-none}
      sleep 0.02
    done
  done
}
