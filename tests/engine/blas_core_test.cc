#include "engine/blas_core.h"

#include <gtest/gtest.h>

namespace onnx_split {
namespace {

CpuFacts x86(std::string own, bool avx512, bool avx2_fma) {
  return {.openblas_core = std::move(own), .avx512 = avx512, .avx2_fma = avx2_fma, .arm_part = 0};
}

TEST(BlasCore, Avx512CoresGetAvx512Kernels) {
  EXPECT_EQ(best_core(x86("Haswell", true, true)), "SkylakeX");  // a Zen 5 that OpenBLAS doesn't know
  EXPECT_EQ(best_core(x86("Zen", true, true)), "SkylakeX");
  EXPECT_EQ(best_core(x86("Prescott", true, true)), "SkylakeX");
  EXPECT_EQ(best_core(x86("SkylakeX", true, true)), "");
  EXPECT_EQ(best_core(x86("Cooperlake", true, true)), "");
  EXPECT_EQ(best_core(x86("SapphireRapids", true, true)), "");
}

TEST(BlasCore, Avx2CoresGetAtLeastHaswell) {
  EXPECT_EQ(best_core(x86("Prescott", false, true)), "Haswell");
  EXPECT_EQ(best_core(x86("Sandybridge", false, true)), "Haswell");
  EXPECT_EQ(best_core(x86("generic", false, true)), "Haswell");
  EXPECT_EQ(best_core(x86("Zen", false, true)), "");
  EXPECT_EQ(best_core(x86("Haswell", false, true)), "");
}

TEST(BlasCore, OlderCoresKeepWhatOpenBlasChose) {
  EXPECT_EQ(best_core(x86("Prescott", false, false)), "");
  EXPECT_EQ(best_core(x86("Nehalem", false, false)), "");
}

CpuFacts arm(std::uint32_t part) {
  return {.openblas_core = "armv8", .avx512 = false, .avx2_fma = false, .arm_part = part};
}

TEST(BlasCore, RaspberryPisGetTheirCores) {
  EXPECT_EQ(best_core(arm(0xd03)), "CORTEXA53");
  EXPECT_EQ(best_core(arm(0xd08)), "CORTEXA72");
  EXPECT_EQ(best_core(arm(0xd0b)), "NEOVERSEN1");
  EXPECT_EQ(best_core(arm(0xd0c)), "NEOVERSEN1");
  EXPECT_EQ(best_core(arm(0xfff)), "");
  EXPECT_EQ(best_core(arm(0)), "");
  CpuFacts known = arm(0xd08);
  known.openblas_core = "cortexa72";
  EXPECT_EQ(best_core(known), "");
}

TEST(BlasCore, ReadsTheFastestKnownPartOfCpuinfo) {
  EXPECT_EQ(arm_part_of_cpuinfo("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\nCPU revision\t: 3\n"),
            0xd08U);
  EXPECT_EQ(
      arm_part_of_cpuinfo("CPU implementer\t: 0x41\nCPU part\t: 0xd03\n\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b"),
      0xd0bU);
  EXPECT_EQ(arm_part_of_cpuinfo("CPU implementer\t: 0x61\nCPU part\t: 0xd08\n"), 0U);
  EXPECT_EQ(arm_part_of_cpuinfo("CPU part"), 0U);
  EXPECT_EQ(arm_part_of_cpuinfo(""), 0U);
}

TEST(BlasCore, NamesTheCoreInUse) { EXPECT_FALSE(blas_core().empty()); }

}  // namespace
}  // namespace onnx_split
