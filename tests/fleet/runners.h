// Runners as threads of the test's process: for speed.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "fleet/runner.h"
#include "tests/support/expect.h"

namespace onnx_split::testing {

// The certificate of a runner; without it they listen at tcp://.
using IdentityOf = std::function<std::shared_ptr<const transport::TlsIdentity>(const std::string& name)>;

class Runners {
 public:
  explicit Runners(std::size_t count, std::uint64_t memory_limit_bytes = 0,
                   std::chrono::milliseconds lease = std::chrono::seconds(10), std::uint64_t keep_bytes = 0,
                   const IdentityOf& identity_of = {})
      : folder_(must(TemporaryDirectory::create("fleet-test"))) {
    for (std::size_t i = 0; i < count; ++i) {
      RunnerOptions options;
      options.name = fmt::format("d{}", i);
      options.model_dir = folder_.path() / options.name;
      options.memory_limit_bytes = memory_limit_bytes;
      options.lease = lease;
      options.keep_bytes = keep_bytes;
      if (identity_of) {
        options.identity = identity_of(options.name);
        options.listen = "tls+tcp://127.0.0.1:0";
      }
      runners_.push_back(must(Runner::create(options)));
    }
    for (const auto& runner : runners_) {
      threads_.emplace_back([&runner] { must(runner->serve()); });
    }
  }
  ~Runners() {
    for (const auto& runner : runners_) runner->stop();
    for (std::thread& thread : threads_) thread.join();
  }

  std::vector<std::string> urls() const {
    std::vector<std::string> urls;
    for (const auto& runner : runners_) urls.push_back(runner->url());
    return urls;
  }
  const std::filesystem::path& folder() const { return folder_.path(); }

 private:
  TemporaryDirectory folder_;
  std::vector<std::unique_ptr<Runner>> runners_;
  std::vector<std::thread> threads_;
};

}  // namespace onnx_split::testing
