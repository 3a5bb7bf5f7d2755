// How much of the second-level cache one core has to itself. How work is divided goes by it, but no result does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace onnx_split {

// What Linux says of this machine's first core; where it says nothing, as in some virtual machines, what the C library
// learned from the processor; or else 256 KiB. A cache that cores share (those of the Raspberry Pi 3 and 4) counts in
// equal shares, if Linux says so; two hardware threads of one core count as two.
std::int64_t own_second_cache_bytes();

// What Linux says in a folder like /sys/devices/system/cpu/cpu0/cache.
std::optional<std::int64_t> own_second_cache_bytes(const std::string& folder);

// What is worth computing together: floats that leave a quarter of it to what else goes through.
std::int64_t cached_floats();

}  // namespace onnx_split
