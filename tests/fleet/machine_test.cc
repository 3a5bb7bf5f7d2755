#include "fleet/machine.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <thread>

#include "base/file.h"

namespace onnx_split {
namespace {

namespace fs = std::filesystem;

// A machine's /proc and control groups, as files.
class CpuQuotaOf : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = TemporaryDirectory::create("machine-test");
    ASSERT_TRUE(made.has_value());
    folder_.emplace(std::move(*made));
    root_ = folder_->path();
  }

  void put(const fs::path& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }

  void expect_quota(double run_ms, double period_ms) {
    const CpuQuota found = cpu_quota(root_);
    EXPECT_DOUBLE_EQ(found.run_ms, run_ms);
    EXPECT_DOUBLE_EQ(found.period_ms, period_ms);
  }

  std::optional<TemporaryDirectory> folder_;
  fs::path root_;
};

TEST(Machine, AThreadsPriorityIsItsOwnAndThatOfThoseItBegins) {
  const auto priority = [] { return ::getpriority(PRIO_PROCESS, 0); };
  const int before = priority();
  if (before > 10) GTEST_SKIP() << "this process has priority " << before << " already";
  std::thread([&] {
    lower_priority(11);
    EXPECT_EQ(priority(), 11);
    lower_priority(5);  // it has less already
    EXPECT_EQ(priority(), 11);
    std::thread([&] { EXPECT_EQ(priority(), 11); }).join();
  }).join();
  EXPECT_EQ(priority(), before);
}

// Pages of a block that had to be asked of the system: each of some block is written, and then it's freed.
long faults_of_a_block() {
  constexpr std::size_t kBytes = std::size_t{8} << 20;
  const auto faults = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
  };
  const long before = faults();
  const auto block = std::make_unique_for_overwrite<volatile std::byte[]>(kBytes);
  for (std::size_t i = 0; i < kBytes; i += 4096) block[i] = std::byte{1};
  return faults() - before;
}

TEST(Machine, WhatIsFreedIsKeptUntilItIsGivenBack) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer has an allocator of its own";
#endif
  keep_freed_memory();
  give_back_freed_memory();
  constexpr long kFew = 100;  // of 2,048
  EXPECT_GT(faults_of_a_block(), kFew);
  for (int i = 0; i < 3; ++i) EXPECT_LT(faults_of_a_block(), kFew);
  give_back_freed_memory();
  EXPECT_GT(faults_of_a_block(), kFew);
}

TEST_F(CpuQuotaOf, AMachineWithoutControlGroups) { expect_quota(0.0, 0.0); }

TEST_F(CpuQuotaOf, Version2TheTightestOfItsGroups) {
  put("proc/self/cgroup", "0::/system.slice/runner.service\n");
  put("proc/self/mountinfo", "26 24 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
  put("sys/fs/cgroup/system.slice/runner.service/cpu.max", "max 100000\n");
  expect_quota(0.0, 0.0);
  put("sys/fs/cgroup/system.slice/cpu.max", "50000 100000\n");
  expect_quota(50.0, 100.0);
  put("sys/fs/cgroup/system.slice/runner.service/cpu.max", "2000 20000\n");
  expect_quota(2.0, 20.0);
  put("sys/fs/cgroup/system.slice/runner.service/cpu.max", "19000 20000\n");
  expect_quota(50.0, 100.0);
}

TEST_F(CpuQuotaOf, Version1WhereItsControllerIsMounted) {
  put("proc/self/cgroup", "4:memory:/pis/a\n3:cpuset:/\n2:cpuacct,cpu:/pis/a\n1:name=x:y:/\n0::/\n");
  put("proc/self/mountinfo",
      "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
      "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n");
  put("sys/fs/cgroup/cpuset/pis/a/cpu.cfs_quota_us", "1000");
  put("sys/fs/cgroup/cpuset/pis/a/cpu.cfs_period_us", "100000");
  put("sys/fs/cgroup/cpu/pis/a/cpu.cfs_quota_us", "-1\n");
  put("sys/fs/cgroup/cpu/pis/a/cpu.cfs_period_us", "100000\n");
  expect_quota(0.0, 0.0);
  put("sys/fs/cgroup/cpu/pis/a/cpu.cfs_quota_us", "5000\n");
  expect_quota(5.0, 100.0);
}

// A container without a namespace of its own sees its group's files where the whole hierarchy's would be.
TEST_F(CpuQuotaOf, AContainersGroupIsMountedAsIfItWereTheRoot) {
  put("proc/self/cgroup", "2:cpu:/docker/f00/inner\n");
  put("proc/self/mountinfo", "32 31 0:29 /docker/f00 /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n");
  put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "150000\n");
  put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  expect_quota(150.0, 100.0);
  put("sys/fs/cgroup/cpu/inner/cpu.cfs_quota_us", "30000\n");
  put("sys/fs/cgroup/cpu/inner/cpu.cfs_period_us", "100000\n");
  expect_quota(30.0, 100.0);
  put("proc/self/mountinfo", "32 31 0:29 /docker/elsewhere /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n");
  expect_quota(150.0, 100.0);
}

TEST_F(CpuQuotaOf, LinesThatArentUnderstoodCountAsNone) {
  put("proc/self/cgroup", "0\n:\n0::\n");
  put("proc/self/mountinfo", "\n- - -\n1 2 3\n26 24 0:23 / /sys/fs/cgroup rw - cgroup2 x rw\n");
  put("sys/fs/cgroup/cpu.max", "many\n");
  expect_quota(0.0, 0.0);
  put("sys/fs/cgroup/cpu.max", "1000 0\n");
  expect_quota(0.0, 0.0);
}

}  // namespace
}  // namespace onnx_split
