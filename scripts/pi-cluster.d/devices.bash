# What each device gets: from the options or the spec file, and its core. Functions that find a value leave it in REPLY.
# shellcheck shell=bash disable=SC2004,SC2034,SC2154  # the variables are those of ../pi-cluster

least_quota_us=1000  # the kernel refuses less
coordinator_us=$((period_us / 4))
most_devices=200     # on the switch's /24

spec_line=''  # where we are in the spec file, for errors
bad_value() {
  [[ -z $spec_line ]] || fail "$spec_line: $*"
  misuse "$*"
}
refuse() { fail "${spec_line:+$spec_line: }$*"; }

parse_cpu() {
  [[ $1 =~ ^([0-9]{1,6}(\.[0-9]{1,6})?)%$ ]] || bad_value "cpu expects a share of one core like 10%, found \"$1\""
  REPLY=$(awk -v percent="${BASH_REMATCH[1]}" -v period="$period_us" 'BEGIN { printf "%.0f", percent / 100 * period }')
  ((REPLY >= least_quota_us)) ||
    refuse "cpu $1 is $REPLY us of each $period_us us; the kernel refuses less than $least_quota_us us (5%)"
  ((REPLY <= period_us)) || refuse "cpu $1 is more than a core, and a device has only one"
}

parse_memory() {
  [[ $1 =~ ^([0-9]{1,12}(\.[0-9]{1,6})?)(B|KB|MB|GB|KiB|MiB|GiB|)$ ]] ||
    bad_value "memory expects a size like 900MB or 1GiB, found \"$1\""
  REPLY=$(awk -v number="${BASH_REMATCH[1]}" -v unit="${BASH_REMATCH[3]}" 'BEGIN {
    power["K"] = 1; power["M"] = 2; power["G"] = 3
    printf "%.0f", number * (unit ~ /i/ ? 1024 : 1000) ^ power[substr(unit, 1, 1)] }')
  ((REPLY > 0)) || refuse "a device without memory can't run anything"
}

parse_bandwidth() {
  [[ $1 =~ ^[0-9]{1,6}(\.[0-9]{1,6})?$ ]] || bad_value "bandwidth-mbps expects a number, found \"$1\""
  awk -v mbps="$1" 'BEGIN { exit !(mbps >= 0.1) }' ||
    refuse "bandwidth-mbps $1: a link needs at least 0.1 (cut NAME takes one down)"
  awk -v mbps="$1" 'BEGIN { exit !(mbps <= 100000) }' || refuse "bandwidth-mbps $1: tbf can't shape more than 100000"
  REPLY=$1
}

add_device() {  # NAME CPU MEMORY BANDWIDTH
  [[ $1 =~ ^[A-Za-z][A-Za-z0-9_-]{0,30}$ ]] ||
    bad_value "a device's name is a letter and up to 30 letters, digits, - and _; found \"$1\""
  [[ -z ${index[$1]-} ]] || refuse "two devices are named $1"
  ((${#names[@]} < most_devices)) || refuse "more than $most_devices devices"
  names+=("$1")
  index[$1]=${#names[@]}
  parse_cpu "$2"; quota_us[$1]=$REPLY
  parse_memory "$3"; memory_bytes[$1]=$REPLY
  parse_bandwidth "$4"; bandwidth_mbps[$1]=$REPLY
}

read_spec() {  # FILE CPU MEMORY BANDWIDTH
  local file=$1 line number=0 word cpu memory bandwidth words
  [[ -f $file && -r $file ]] || fail "cannot read $file"
  while IFS= read -r line || [[ -n $line ]]; do
    spec_line="$file:$((++number))"
    read -ra words <<<"${line%%#*}" || true
    ((${#words[@]} > 0)) || continue
    cpu=$2 memory=$3 bandwidth=$4
    for word in "${words[@]:1}"; do
      case "$word" in
        cpu=*) cpu=${word#*=} ;;
        memory=*) memory=${word#*=} ;;
        bandwidth-mbps=*) bandwidth=${word#*=} ;;
        *) refuse "expected cpu=, memory= or bandwidth-mbps=, found \"$word\"" ;;
      esac
    done
    add_device "${words[0]}" "$cpu" "$memory" "$bandwidth"
  done <"$file"
  spec_line=''
  ((${#names[@]} > 0)) || fail "$file: no devices"
}

# Every device gets one core, the largest quotas first, each the core with the most to spare.
pin() {
  local range first last name best c total_us=0
  local -a cores=()
  local -A load_us=()
  for range in $(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status | tr ',' ' '); do
    first=${range%-*} last=${range#*-}
    for ((c = first; c <= last; ++c)); do cores+=("$c"); load_us[$c]=0; done
  done
  for name in "${names[@]}"; do ((total_us += quota_us[$name])); done
  ((total_us <= ${#cores[@]} * period_us - coordinator_us)) ||
    fail "the devices' cpu adds up to $((total_us * 100 / period_us))%;" \
      "${#cores[@]} cores are $((${#cores[@]} * 100))%, of which the coordinator needs $((coordinator_us * 100 / period_us))%"
  while read -r _ name; do
    best=${cores[0]}
    for c in "${cores[@]}"; do ((load_us[$c] >= load_us[$best])) || best=$c; done
    core[$name]=$best
    ((load_us[$best] += quota_us[$name]))
    ((load_us[$best] <= period_us)) ||
      fail "the devices' cpu can't be spread over ${#cores[@]} cores: $name would be the one too many"
  done < <(for name in "${names[@]}"; do echo "${quota_us[$name]} $name"; done | sort -s -k 1,1nr)
}
