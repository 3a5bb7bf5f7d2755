#include "engine/cache_size.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace onnx_split {
namespace {

constexpr std::int64_t kKibi = 1024;

class Caches {
 public:
  Caches() : folder_(testing::TempDir() + "caches" + std::to_string(::getpid())) {
    std::filesystem::remove_all(folder_);
  }
  ~Caches() { std::filesystem::remove_all(folder_); }

  void add(const char* level, const char* type, const char* size, const char* cores) {
    const std::string cache = folder_ + "/index" + std::to_string(count_++);
    std::filesystem::create_directories(cache);
    std::ofstream(cache + "/level") << level << '\n';
    std::ofstream(cache + "/type") << type << '\n';
    std::ofstream(cache + "/size") << size << '\n';
    std::ofstream(cache + "/shared_cpu_list") << cores << '\n';
  }
  std::optional<std::int64_t> bytes() const { return own_second_cache_bytes(folder_); }

 private:
  std::string folder_;
  int count_ = 0;
};

TEST(CacheSize, ASharedCacheIsDivided) {
  Caches caches;  // of a Raspberry Pi 4
  caches.add("1", "Data", "32K", "0");
  caches.add("1", "Instruction", "48K", "0");
  caches.add("2", "Unified", "1024K", "0-3");
  EXPECT_EQ(caches.bytes(), 256 * kKibi);
}

TEST(CacheSize, ListsOfCores) {
  for (const auto& [cores, expected] : {std::pair{"0", 2048}, {"0,4", 1024}, {"0-1,4-5", 512}, {"0-127", 64}}) {
    Caches caches;
    caches.add("2", "Unified", "2M", cores);
    EXPECT_EQ(caches.bytes(), expected * kKibi) << cores;
  }
}

TEST(CacheSize, WhatLinuxDoesNotSayIsNothing) {
  EXPECT_EQ(own_second_cache_bytes("/nowhere"), std::nullopt);
  for (const auto& [size, cores] : {std::pair{"", "0"},
                                    {"2048", "0"},
                                    {"-1K", "0"},
                                    {"9999999999999M", "0"},
                                    {"1024K", ""},
                                    {"1024K", "3-0"},
                                    {"1024K", "0;1"}}) {
    Caches caches;
    caches.add("2", "Unified", size, cores);
    EXPECT_EQ(caches.bytes(), std::nullopt) << size << ' ' << cores;
  }
}

TEST(CacheSize, OfThisMachineIsPlausible) {
  EXPECT_GE(own_second_cache_bytes(), 64 * kKibi);
  EXPECT_LE(own_second_cache_bytes(), 64 * 1024 * kKibi);
  EXPECT_LT(cached_floats() * 4, own_second_cache_bytes());
}

}  // namespace
}  // namespace onnx_split
