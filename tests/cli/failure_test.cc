// Everything that can be wrong from outside: each gives one clear line on stderr, the right exit code, and leaves
// nothing behind.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>

#include <fstream>
#include <thread>

#include "cli/npy.h"
#include "tests/cli/program.h"
#include "tests/support/expect.h"
#include "tests/support/wait.h"

namespace onnx_split::testing {
namespace {

void expect_one_line(const Workplace& place, const Outcome& outcome, const std::string& text, int exit_code = 1) {
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_NE(outcome.err.find(text), std::string::npos) << text << " / " << outcome.err;
  EXPECT_TRUE(place.left_behind().empty()) << place.left_behind()[0];
}

Outcome run_model(const Workplace& place, const std::string& model) {
  return place.run({"onnx-split", "run", model, "--input", "random"});
}

TEST(Failure, AMissingModel) {
  const Workplace place;
  expect_one_line(place, run_model(place, place / "none.onnx"), "none.onnx: cannot open: No such file or directory");
}

TEST(Failure, ATruncatedModel) {
  const Workplace place;
  const std::string whole = must(read_file(kDigits));
  must(write_file(place / "cut.onnx", whole.substr(0, whole.size() / 2)));
  expect_one_line(place, run_model(place, place / "cut.onnx"), "cut.onnx: ");
}

// ModelProto{ir_version 8, opset 13, graph{initializer{dims [16384,16384], float, name "w", raw_data of 4 bytes}}}
TEST(Failure, ATensorThatClaimsAGigabyteInAHundredBytes) {
  const Workplace place;
  const std::string initializer = std::string("\x08\x80\x80\x01\x08\x80\x80\x01\x10\x01\x42\x01w\x4a\x04\0\0\0\0", 19);
  const std::string node =
      "\x0a\x01x\x0a\x01w\x12\x01y\x22\x03"
      "Add";
  const std::string output = "\x0a\x01y";
  const std::string shape = std::string("\x0a\x01x\x12\x08\x0a\x06\x08\x01\x12\x02\x0a\x00", 13);
  const auto field = [](char tag, const std::string& body) {
    return std::string(1, tag) + static_cast<char>(body.size()) + body;
  };
  const std::string graph = field('\x0a', node) + field('\x12', "g") + field('\x2a', initializer) +
                            field('\x5a', shape) + field('\x62', output);
  const std::string model = std::string("\x08\x08", 2) + field('\x3a', graph) + std::string("\x42\x02\x10\x0d", 4);
  ASSERT_LT(model.size(), 100U);
  must(write_file(place / "huge.onnx", model));
  const Outcome outcome = run_model(place, place / "huge.onnx");
  expect_one_line(place, outcome, "huge.onnx: ");
  EXPECT_NE(outcome.err.find("\"w\""), std::string::npos) << outcome.err;
}

TEST(Failure, ExternalDataOutsideTheModelsFolder) {
  const Workplace place;
  ASSERT_EQ(place.run({"onnx-split", "zoo", "squeezenet1_1", "-o", place / "net.onnx"}).exit_code, 0);
  std::string model = must(read_file(place.path("net.onnx")));
  const std::string inside = "net.weights";
  std::string outside = "../passwd";  // of the same length once padded with ./
  outside = "./" + outside;
  ASSERT_EQ(inside.size(), outside.size());
  for (std::size_t at = model.find(inside); at != std::string::npos; at = model.find(inside, at)) {
    model.replace(at, inside.size(), outside);
  }
  must(write_file(place / "net.onnx", model));
  std::filesystem::create_directory(place.path("sub"));
  std::filesystem::rename(place.path("net.onnx"), place.path("sub/net.onnx"));
  must(write_file(place / "passwd", std::string(1 << 20, 'x')));
  expect_one_line(place, run_model(place, place / "sub/net.onnx"), "passwd");
}

TEST(Failure, APictureOfTheWrongKind) {
  const Workplace place;
  must(write_file(place / "cat.png", "GIF89a this is not a PNG"));
  expect_one_line(place, place.run({"onnx-split", "run", kDigits, "--input", place / "cat.png"}),
                  "cat.png: not a JPEG or PNG picture");
  expect_one_line(place, place.run({"onnx-split", "run", kDigits, "--input", place / "none.npy"}), "none.npy");
}

TEST(Failure, ABusyPort) {
  const Workplace place;
  Program runner(place.tmp(), {"onnx-split-runner", "--listen", "tcp://127.0.0.1:0", "--model-dir", place / "a"});
  runner.wait_for_output("\n");
  const std::string url = runner.out().substr(13, runner.out().size() - 14);
  expect_one_line(place, place.run({"onnx-split-runner", "--listen", url}), "address in use");
}

TEST(Failure, ARunnerThatDiesAtStart) {
  const Workplace place;
  std::filesystem::create_directory(place.path("bin"));
  std::filesystem::copy_file(std::string(ONNX_SPLIT_BIN) + "/onnx-split", place.path("bin/onnx-split"));
  must(write_file(place / "bin/onnx-split-runner", "#!/bin/sh\nexit 3\n"));
  std::filesystem::permissions(place.path("bin/onnx-split-runner"), std::filesystem::perms::owner_all);
  expect_one_line(place, place.run({place / "bin/onnx-split", "run", kDigits, "--local", "2", "--input", "random"}),
                  "runner \"local0\": it ended with exit status 3");
}

// A tmpfs of 256 KiB, unmounted at the end.
class SmallDisk {
 public:
  explicit SmallDisk(std::filesystem::path path) : path_(std::move(path)) {
    std::filesystem::create_directory(path_);
    mounted_ = ::mount("tmpfs", path_.c_str(), "tmpfs", 0, "size=256k") == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }

 private:
  std::filesystem::path path_;
  bool mounted_ = false;
};

TEST(Failure, AFullDisk) {
  const Workplace place;
  const SmallDisk disk(place.path("small"));
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small tmpfs needs root";
  expect_one_line(place, place.run({"onnx-split", "zoo", "squeezenet1_1", "-o", place / "small/net.onnx"}),
                  "No space left on device");
  EXPECT_TRUE(place.names_in(place.path("small")).empty());

  ASSERT_EQ(place.run({"onnx-split", "zoo", "squeezenet1_1", "-o", place / "net.onnx"}).exit_code, 0);
  const std::string plan = place / "plan.json";
  ASSERT_EQ(
      place
          .run({"onnx-split", "plan", place / "net.onnx", "--devices", "2", "--no-replicas", "--no-splits", "-o", plan})
          .exit_code,
      0);
  expect_one_line(place,
                  place.run({"onnx-split", "split", place / "net.onnx", "--plan", plan, "-o", place / "small/parts"}),
                  "No space left on device");
  EXPECT_TRUE(place.names_in(place.path("small")).empty());

  // The disk of local runners, which is that of the temporary folder.
  const Outcome local =
      place.run({"/usr/bin/env", "TMPDIR=" + (place / "small"), std::string(ONNX_SPLIT_BIN) + "/onnx-split", "run",
                 place / "net.onnx", "--local", "2", "--input", "random"});
  expect_one_line(place, local, "No space left on device");
  EXPECT_TRUE(place.names_in(place.path("small")).empty());

  // The disk of a runner: the coordinator says which device and which file.
  Program runner(place.tmp(), {"onnx-split-runner", "--listen", "tcp://127.0.0.1:0", "--model-dir", place / "small/m",
                               "--log-level", "off"});
  runner.wait_for_output("\n");
  const std::string url = runner.out().substr(13, runner.out().size() - 14);
  must(write_file(place / "cluster.yaml", "devices:\n  - {name: pi1, address: \"" + url + "\"}\n"));
  const Outcome outcome =
      place.run({"onnx-split", "run", place / "net.onnx", "--cluster", place / "cluster.yaml", "--input", "random"});
  expect_one_line(place, outcome, "device \"pi1\": ");
  EXPECT_NE(outcome.err.find("No space left on device"), std::string::npos) << outcome.err;
  EXPECT_TRUE(place.names_in(place.path("small/m")).empty());
}

TEST(Failure, WrongUsageIsExitCode2) {
  const Workplace place;
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"onnx-split"},
           {"onnx-split", "fly"},
           {"onnx-split", "run", kDigits},
           {"onnx-split", "run", kDigits, "--input", "random", "--local", "0"},
           {"onnx-split", "run", kDigits, "--input", "random", "--local", "2", "--cluster", "x"},
           {"onnx-split", "plan", kDigits, "-o", place / "p.json"},
           {"onnx-split", "zoo"},
           {"onnx-split", "bench", kDigits, "--scenario", "server"},
           {"onnx-split", "run", kDigits, "--input", "random", "--gemm", "openblas", "--weights", "fp16"},
           {"onnx-split", "run", kDigits, "--input", "random", "--local", "2", "--lost-after", "10000"},
           {"onnx-split", "run", kDigits, "--input", "random", "--log-level", "loud"},
           {"onnx-split-runner", "--threads", "none"}}) {
    const Outcome outcome = place.run(words);
    EXPECT_EQ(outcome.exit_code, 2) << words.back() << ": " << outcome.err;
    EXPECT_FALSE(outcome.err.empty());
    EXPECT_TRUE(outcome.out.empty());
  }
  EXPECT_EQ(place.run({"onnx-split", "run", "--help"}).exit_code, 0);
  EXPECT_NE(place.run({"onnx-split", "bench", "--help"}).out.find("Example"), std::string::npos);
}

TEST(Failure, CtrlCEndsEverything) {
  const Workplace place;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    Program bench(place.tmp(),
                  {"onnx-split", "bench", kDigits, "--local", "3", "--scenario", "offline", "--duration-s", "300"});
    const std::vector<pid_t> runners = wait_for_children(bench.pid(), 3);
    bench.signal(signal);
    const Outcome outcome = bench.wait(std::chrono::seconds(20));
    expect_one_line(place, outcome, "interrupted");
    for (const pid_t runner : runners) EXPECT_FALSE(is_alive(runner));
  }
}

TEST(Failure, AProfileOfADeviceThatCannotBeReached) {
  const Workplace place;
  const std::string file = place / "cluster.yaml";
  must(write_file(file, "devices:\n  - name: pi1\n    address: tcp://127.0.0.1:1\n"));
  const std::string text = file + ":3: devices[0].address: device \"pi1\": tcp://127.0.0.1:1: ";
  expect_one_line(place, place.run({"onnx-split", "profile", kDigits, "--cluster", file, "-o", place / "p.json"}),
                  text);
  EXPECT_FALSE(std::filesystem::exists(place.path("p.json")));
}

TEST(Failure, AClusterFilesDeviceThatCannotBeDialledHasItsLine) {
  const Workplace place;
  const std::string file = place / "cluster.yaml";
  const std::vector<std::vector<std::string>> commands = {
      {"onnx-split", "run", kDigits, "--cluster", file, "--input", "random"},
      {"onnx-split", "bench", kDigits, "--cluster", file, "--requests", "1"},
      {"onnx-split", "profile", kDigits, "--cluster", file, "-o", place / "p.json"},
      {"onnx-split", "status", "--cluster", file}};
  for (const char* address : {"tcp://127.0.0.1:1", "tcp//127.0.0.1:7070", "udp://127.0.0.1:7070", "tcp://127.0.0.1"}) {
    must(write_file(file, fmt::format("devices:\n  - name: pi1\n    address: {}\n", address)));
    for (const std::vector<std::string>& command : commands) {
      SCOPED_TRACE(fmt::format("{} {}", command[1], address));
      const Outcome outcome = place.run(command);
      expect_one_line(place, outcome, file + ":3: devices[0].address: ");
      EXPECT_NE(outcome.err.find(address), std::string::npos) << outcome.err;
    }
  }
}

TEST(Failure, CtrlCEndsAProfile) {
  const Workplace place;
  Program profile(place.tmp(), {"onnx-split", "profile", kDigits, "-o", place / "p.json"});
  const std::vector<pid_t> runners = wait_for_children(profile.pid(), 1);
  profile.signal(SIGINT);
  expect_one_line(place, profile.wait(std::chrono::seconds(20)), "interrupted");
  EXPECT_FALSE(is_alive(runners[0]));
  EXPECT_FALSE(std::filesystem::exists(place.path("p.json")));
}

TEST(Failure, AKilledCoordinatorLeavesNoRunner) {
  const Workplace place;
  Program bench(place.tmp(), {"onnx-split", "bench", kDigits, "--local", "2", "--duration-s", "300"});
  const std::vector<pid_t> runners = wait_for_children(bench.pid(), 2);
  bench.signal(SIGKILL);
  EXPECT_EQ(bench.wait().exit_code, 128 + SIGKILL);
  for (const pid_t runner : runners) EXPECT_TRUE(ends_soon(runner));
}

TEST(Failure, AKilledRunnerEndsTheRunWithItsName) {
  const Workplace place;
  Program bench(place.tmp(), {"onnx-split", "bench", kDigits, "--local", "2", "--duration-s", "300"});
  const std::vector<pid_t> runners = wait_for_children(bench.pid(), 2);
  ::kill(runners[1], SIGKILL);
  const Outcome outcome = bench.wait(std::chrono::seconds(60));
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_NE(outcome.err.find("local1"), std::string::npos) << outcome.err;
  EXPECT_TRUE(place.left_behind().empty());
}

// The window of fewer devices is smaller than what is on its way when one is lost.
TEST(Failure, ResultsGoOnBeingPrintedAfterALoss) {
  const Workplace place;
  constexpr std::int64_t kMany = 100'000;
  const std::vector<float> pixels(kMany * 64, 1.0F);
  must(write_npy(place.path("many.npy"), Tensor::floats({kMany, 1, 8, 8}, pixels).view()));
  Program run(place.tmp(),
              {"onnx-split", "run", kDigits, "--local", "4", "--input", place / "many.npy", "--top", "1", "--quiet"});
  const std::vector<pid_t> runners = wait_for_children(run.pid(), 4);
  run.wait_for_output("many[1000]: ");
  ::kill(runners[1], SIGSTOP);
  std::this_thread::sleep_for(std::chrono::seconds(3));
  const std::size_t before = run.out().size();
  EXPECT_TRUE(comes_true([&] { return run.out().size() > before + 20'000; }, std::chrono::seconds(5)));
  EXPECT_TRUE(is_alive(run.pid()));  // and not at its end
  ::kill(runners[1], SIGCONT);
  run.signal(SIGINT);
  const Outcome outcome = run.wait(std::chrono::seconds(20));
  EXPECT_NE(outcome.err.find("going on without device \"local1\""), std::string::npos) << outcome.err;
}

// Whoever measures a plan wants to know that it was this one.
TEST(Failure, WithoutReplanningALossEndsTheRun) {
  const Workplace place;
  Program bench(place.tmp(), {"onnx-split", "bench", kDigits, "--local", "3", "--no-replan", "--duration-s", "300"});
  const std::vector<pid_t> runners = wait_for_children(bench.pid(), 3);
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  ::kill(runners[1], SIGKILL);
  const Outcome outcome = bench.wait(std::chrono::seconds(20));
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_NE(outcome.err.find("device \"local1\""), std::string::npos) << outcome.err;
  EXPECT_EQ(outcome.err.find("going on without"), std::string::npos) << outcome.err;
  EXPECT_TRUE(place.left_behind().empty());
}

// What is too long is the user's to say.
TEST(Failure, ARunnerThatPausesIsLostOrNot) {
  const Workplace place;
  for (const bool is_patient : {false, true}) {
    std::vector<std::string> words = {"onnx-split", "bench", kDigits, "--local", "2", "--duration-s", "5"};
    if (is_patient) words.insert(words.end(), {"--lost-after", "9000"});
    Program bench(place.tmp(), words);
    const std::vector<pid_t> runners = wait_for_children(bench.pid(), 2);
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    ::kill(runners[1], SIGSTOP);
    std::this_thread::sleep_for(std::chrono::milliseconds(2500));
    ::kill(runners[1], SIGCONT);
    const Outcome outcome = bench.wait(std::chrono::seconds(60));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    const bool was_lost = outcome.err.find("going on without device \"local1\"") != std::string::npos;
    EXPECT_EQ(was_lost, !is_patient) << outcome.err;
  }
}

}  // namespace
}  // namespace onnx_split::testing
