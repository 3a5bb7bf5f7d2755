# A namespace for the switch, one for each device, and a link into this one for the coordinator.
# shellcheck shell=bash disable=SC2034,SC2154  # the variables are those of ../pi-cluster

# The switch has a namespace of its own: a firewall of this machine doesn't see what the devices tell each other, and
# what is left to remove is one namespace instead of a link for each device.
make_switch() {
  ip netns add "$prefix"
  ip -n "$prefix" link add name switch type bridge forward_delay 0 stp_state 0 mcast_snooping 0
  ip -n "$prefix" link set dev switch addrgenmode none up
  ip link add name "${prefix}0" type veth peer name coordinator netns "$prefix"
  ip -n "$prefix" link set dev coordinator addrgenmode none master switch up
  ip link set dev "${prefix}0" addrgenmode none up
  ip address add "$subnet.1/24" dev "${prefix}0"
}

make_device_network() {  # NAME
  local name=$1 namespace=$prefix-$1 at=p${index[$1]}
  ip netns add "$namespace"
  ip -n "$namespace" link set dev lo up
  ip -n "$prefix" link add name "$at" type veth peer name eth0 netns "$namespace"
  shape "$prefix" "$at" "${bandwidth_mbps[$name]}"       # to the device
  shape "$namespace" eth0 "${bandwidth_mbps[$name]}"     # from it
  ip -n "$prefix" link set dev "$at" addrgenmode none master switch up
  ip -n "$namespace" link set dev eth0 addrgenmode none up
  ip -n "$namespace" address add "$(address "$name")/24" dev eth0
}

address() { echo "$subnet.$((10 + index[$1]))"; }

# tbf lets what its bucket holds pass at once after a silence, where a cable would not: the bucket is 1 ms of the link
# and no more. It must hold a packet, and with offloads a packet on a veth is up to 64 KB: gso_max_size keeps what
# the device sends within the bucket (others' larger ones tbf divides itself). A bucket of less than about half a
# millisecond wouldn't do at 940 Mbit/s, because what overflows it while a timer is late is lost for the rate.
# The queue takes 20 ms of the link and at least 1 MB, so that several devices may send one a few hundred KB at once.
# The rate is in frames of 1514 bytes, of which TCP with timestamps delivers 1448.
shape() {  # NAMESPACE LINK MBPS
  local rate_bps burst_bytes gso_bytes limit_bytes
  read -r rate_bps burst_bytes gso_bytes limit_bytes < <(awk -v mbps="$3" 'BEGIN {
    rate = mbps * 1e6 * 1514 / 1448
    burst = rate / 8 * 1e-3
    if (burst < 2 * 1514) burst = 2 * 1514
    queue = rate / 8 * 20e-3
    if (queue < 1e6) queue = 1e6
    printf "%.0f %.0f %.0f %.0f\n", rate, burst, burst < 65536 ? burst : 65536, burst + queue }')
  ip -n "$1" link set dev "$2" gso_max_size "$gso_bytes"
  tc -n "$1" qdisc add dev "$2" root tbf rate "${rate_bps}bit" burst "${burst_bytes}b" limit "${limit_bytes}b"
}

ipv4_number() {
  local a b c d
  IFS=. read -r a b c d <<<"$1"
  REPLY=$(((a << 24) + (b << 16) + (c << 8) + d))
}

# The first private /24 that no route of this machine touches; not counting default routes, also those in halves.
choose_subnet() {
  local route length begin candidate taken i
  local -a begins=() lengths=()
  while read -r route; do
    length=32
    [[ $route != */* ]] || length=${route#*/}
    ((length >= 8)) || continue
    ipv4_number "${route%/*}"
    begins+=("$REPLY") lengths+=("$length")
  done < <(ip -4 route show table all | grep -oE '^([a-z]+ )?[0-9]+(\.[0-9]+){3}(/[0-9]+)?' | sed 's/.* //' | sort -u)
  for candidate in 10.77.{0..255} 192.168.{1..254}; do
    ipv4_number "$candidate.0"
    begin=$REPLY taken=false
    for i in "${!begins[@]}"; do
      length=$((lengths[i] < 24 ? lengths[i] : 24))
      ((begins[i] >> (32 - length) != begin >> (32 - length))) || { taken=true; break; }
    done
    $taken || { subnet=$candidate; return; }
  done
  fail "no private network is free: routes take 10.77.0.0/16 and 192.168.0.0/16"
}

remove_network() {
  local name
  ! ip link show dev "${prefix}0" >/dev/null 2>&1 || ip link delete dev "${prefix}0"
  for name in "/run/netns/$prefix" "/run/netns/$prefix"-*; do
    [[ ! -e $name ]] || ip netns delete "${name##*/}"
  done
}

link_state() {  # NAME
  if ip -n "$prefix" -oneline link show dev "p${index[$1]}" | grep -q '[<,]UP[,>]'; then REPLY=up; else REPLY=down; fi
}
