# Sourced by the scripts that run tests under sanitizers.
# shellcheck shell=bash

# The thread sanitizer of GCC 12 doesn't start where the kernel randomises addresses further than it expects.
without_address_randomisation() {
  if setarch "$(uname -m)" --addr-no-randomize true 2>/dev/null; then
    setarch "$(uname -m)" --addr-no-randomize "$@"
  else
    "$@"
  fi
}
