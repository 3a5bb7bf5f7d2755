#include <CLI/CLI.hpp>
#include <memory>

#include "cli/cluster_file.h"
#include "cli/commands.h"
#include "cli/identity.h"
#include "cli/table.h"
#include "fleet/control.h"
#include "partition/cluster.h"

namespace onnx_split {
namespace {

struct Options {
  std::string cluster;
  IdentityOptions identity;
  bool json = false;
};

constexpr std::chrono::milliseconds kTimeout{3000};

Expected<Json> ask(const Device& device, const std::shared_ptr<const transport::TlsIdentity>& identity) {
  TRY_ASSIGN(ControlClient client, ControlClient::connect(device.name, device.address, kTimeout, identity));
  return client.call("status", Json::object(), {}, kTimeout);
}

std::string text_of(const Json& status, const char* key) {
  const auto found = status.find(key);
  if (found == status.end()) return "-";
  return found->is_string() ? found->get<std::string>() : to_text(*found);
}

// Every device is asked; one that doesn't answer makes the command fail after the table was printed.
Expected<void> run(const Options& options) {
  TRY_ASSIGN(const Cluster cluster, read_dialable_cluster(options.cluster));
  TRY_ASSIGN(const auto identity, identity_for(cluster, options.identity));
  Json list = Json::array();
  Table table({"device", "address", "state", "model", ">threads", "core type", ">jobs done", ">memory"});
  std::vector<std::string> failures;
  for (const Device& device : cluster.devices) {
    auto status = ask(device, identity);
    Json entry = {{"device", device.name}, {"address", device.address}};
    if (!status) {
      entry["state"] = "unreachable";
      entry["error"] = status.error().message;
      failures.push_back(with_place(std::move(status.error()), cluster).message);
    } else {
      entry.update(*status);
    }
    table.add({device.name, device.address, text_of(entry, "state"), text_of(entry, "model"), text_of(entry, "threads"),
               text_of(entry, "core_type"), text_of(entry, "jobs_done"), text_of(entry, "memory_bytes")});
    list.push_back(std::move(entry));
  }
  fmt::print("{}", options.json ? to_text(list, 1) + "\n" : table.to_string());
  if (failures.empty()) return {};
  return fail(ErrorCode::kUnavailable, "{} of {} devices don't answer; {}", failures.size(), cluster.devices.size(),
              failures.front());
}

}  // namespace

Command add_status(CLI::App& program, const CommonOptions&) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("status", "ask every runner of a cluster how it is");
  command->add_option("--cluster", options->cluster, "the cluster file")->type_name("FILE")->required();
  add_identity_options(*command, options->identity);
  command->add_flag("--json", options->json, "as JSON");
  command->footer("Example:\n  onnx-split status --cluster cluster.yaml");
  return [options] { return run(*options); };
}

}  // namespace onnx_split
