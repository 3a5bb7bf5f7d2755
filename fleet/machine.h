// What a process can say of the machine that it runs on and of itself. Linux only. Any thread may call.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace onnx_split {

// Architecture and model: "aarch64, Raspberry Pi 4 Model B Rev 1.4"; the architecture alone where the model isn't
// known.
std::string machine_name();

// Memory that could still be used without swapping, whatever limits the process may have besides; 0 if unknown.
std::uint64_t available_memory_bytes();

// From now on the allocator keeps what is freed, blocks of more than 32 MB excepted, in one heap for all threads: what
// the messages of one request took those of the next one take again. Given back in between, as glibc does by itself,
// each of their pages is asked of the system anew: a stage that receives and gives 3 MB then took twice the processor
// time in a virtual machine. To be called once, before threads begin.
void keep_freed_memory();

// Gives back what was kept until now.
void give_back_freed_memory();

// Does so at its end, after a piece of work that needed other blocks than what comes next.
struct GivesBackFreedMemory {
  GivesBackFreedMemory() = default;
  GivesBackFreedMemory(const GivesBackFreedMemory&) = delete;
  GivesBackFreedMemory& operator=(const GivesBackFreedMemory&) = delete;
  ~GivesBackFreedMemory() { give_back_freed_memory(); }
};

// Memory of this process that is resident, after that.
std::uint64_t trimmed_resident_bytes();

// Processor time that all threads of this process, nng's too, or the calling thread alone have had so far.
std::int64_t process_time_ns();
std::int64_t thread_time_ns();

// Lets others go first: the calling thread, and those that it begins afterwards, get `nice`, if they had less
// (setpriority(2)). Where that is refused they only take others' time.
void lower_priority(int nice);

// A quota on this process's processor time: its threads may together run for `run_ms` of each period, and stand still
// for the rest.
struct CpuQuota {
  double run_ms = 0.0;  // both 0: there is none, or the kernel doesn't show it
  double period_ms = 0.0;
};

// The tightest quota of the control groups, v1 or v2, that this process is in. `root`: where /proc and what it says is
// mounted are looked for.
CpuQuota cpu_quota(const std::filesystem::path& root = "/");

}  // namespace onnx_split
