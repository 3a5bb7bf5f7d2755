// Mutual TLS as a user sets it up: certs, runners at tls+tcp://, and who is kept out.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file.h"
#include "tests/cli/program.h"
#include "tests/support/expect.h"

namespace onnx_split::testing {
namespace {

void expect_failed(const Outcome& outcome, const std::string& message) {
  EXPECT_EQ(outcome.exit_code, 1) << outcome.out;
  EXPECT_NE(outcome.err.find(message), std::string::npos) << outcome.err;
}

int mode_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return static_cast<int>(status.st_mode & 0777);
}

class Certs : public ::testing::Test {
 protected:
  void SetUp() override {
    expect_done(certs({"init"}));
    for (const char* name : {"a", "b"}) expect_done(certs({"add", name}));
  }

  Outcome certs(std::vector<std::string> arguments) const {
    std::vector<std::string> words = {"onnx-split", "certs"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    words.insert(words.end(), {"-o", place_ / "certs"});
    return place_.run(words);
  }

  std::vector<std::string> runner(const std::string& name, const std::string& certificate) const {
    const std::string folder = place_ / ("certs/" + certificate + "/");
    return {"onnx-split-runner",
            "--listen",
            "tls+tcp://127.0.0.1:0",
            "--name",
            name,
            "--tls-cert",
            folder + "cert.pem",
            "--tls-key",
            folder + "key.pem",
            "--tls-ca",
            folder + "ca.pem"};
  }

  Workplace place_;
};

TEST_F(Certs, KeysAreForTheirOwnerAndNothingIsOverwritten) {
  for (const char* key : {"coordinators-ca.key", "devices-ca.key", "coordinator/key.pem", "a/key.pem"}) {
    EXPECT_EQ(mode_of(place_ / ("certs/" + std::string(key))), 0600) << key;
  }
  expect_failed(certs({"init"}), "ca.pem is there already");
  expect_failed(certs({"add", "a"}), "certs/a is there already");
  expect_failed(certs({"add", "../a"}), "expected a name of 1 to 60 letters");
  expect_failed(certs({"add", "coordinator"}), "is the coordinator's own name");
}

TEST_F(Certs, AClusterOverTlsGivesTheAnswerAndLetsNobodyElseIn) {
  Program first(place_.tmp(), runner("a", "a"));
  Program second(place_.tmp(), runner("b", "b"));
  std::string cluster = "devices:\n";
  for (const Program* program : {&first, &second}) {
    program->wait_for_output("\n");
    const std::string line = program->out();
    ASSERT_TRUE(line.starts_with("listening on tls+tcp://127.0.0.1:")) << line;
    cluster += fmt::format("  - {{name: {}, address: \"{}\"}}\n", program == &first ? "a" : "b",
                           line.substr(13, line.size() - 14));
  }
  must(write_file(place_ / "cluster.yaml", cluster));
  must(write_file(place_ / "swapped.yaml", [&] {
    std::string swapped = cluster;
    swapped[swapped.find("name: a") + 6] = 'b';
    swapped[swapped.rfind("name: b") + 6] = 'a';
    return swapped;
  }()));
  const auto run = [&](const std::string& file, const std::string& certificate) {
    return place_.run({"onnx-split", "run", kDigits, "--cluster", place_ / file, "--certs",
                       place_ / ("certs/" + certificate), "--input", kDigitsFolder + "digits_images.npy", "--expect",
                       kDigitsFolder + "digits_labels.npy", "--top", "1"});
  };
  expect_done(run("cluster.yaml", "coordinator"));
  // A device's certificate gives no orders, the wrong device isn't talked to, and strangers have no certificate.
  expect_failed(run("cluster.yaml", "a"), "device \"a\": tls+tcp://127.0.0.1:");
  expect_failed(run("swapped.yaml", "coordinator"), "tls+tcp://127.0.0.1:");
  expect_failed(run("cluster.yaml", "nobody"), "nobody/cert.pem");
  std::string plain = cluster;
  while (plain.find("tls+") != std::string::npos) plain.erase(plain.find("tls+"), 4);
  must(write_file(place_ / "plain.yaml", plain));
  expect_failed(run("plain.yaml", "coordinator"), "device \"a\": tcp://127.0.0.1:");
  expect_done(run("cluster.yaml", "coordinator"));

  const Outcome profile = place_.run({"onnx-split", "profile", kDigits, "--cluster", place_ / "cluster.yaml", "--certs",
                                      place_ / "certs/coordinator", "--quick", "-o", place_ / "profile.json"});
  expect_done(profile);
  expect_done(place_.run(
      {"onnx-split", "status", "--cluster", place_ / "cluster.yaml", "--certs", place_ / "certs/coordinator"}));
}

TEST_F(Certs, ARunnerSaysWhatIsWrongWithItsFiles) {
  expect_failed(place_.run(runner("b", "a")), "the certificate is for \"a\", and --name is \"b\"");
  std::vector<std::string> words = runner("a", "a");
  words[8] = place_ / "certs/b/key.pem";
  expect_failed(place_.run(words), "key.pem: not the key of ");
  words = runner("a", "a");
  words.resize(7);
  EXPECT_EQ(place_.run(words).exit_code, 2);
  expect_failed(place_.run({"onnx-split-runner", "--listen", "tls+tcp://127.0.0.1:0"}),
                "expects a certificate, a key and authorities");
}

}  // namespace
}  // namespace onnx_split::testing
