// The instruction sets for which kernels with Highway are compiled. Include before <hwy/foreach_target.h>.
//
// SVE: arrays of vectors need a size that the compiler knows. The others bring nothing that is used here.
#pragma once

#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_SSSE3 | HWY_AVX3_DL)
