// Control messages: requests as a runner reads them before it does anything, replies as a coordinator does. A
// deployment that is accepted is written and read as the same, and its frames fit it.

#include <cstring>
#include <string>

#include "base/check.h"
#include "fleet/control.h"
#include "fleet/join_table.h"
#include "fleet/link_probe.h"
#include "fleet/profiler.h"
#include "fleet/requests.h"
#include "tests/fuzz/deployment_example.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mutate_json.h"

using namespace onnx_split;

namespace {

// What is large is accepted, but isn't worth the time here.
constexpr std::size_t kFewTransfers = 1 << 12;
constexpr std::size_t kSmallPayload = 1 << 16;

void check_deployment(const Deployment& deployment) {
  const auto written = parse_json(to_text(deployment_to_json(deployment)));
  CHECK(written.has_value());
  const auto again = deployment_from_json(*written);
  CHECK(again.has_value() && again->routing.transfers.size() == deployment.routing.transfers.size());
  CHECK(to_text(deployment_to_json(*again)) == to_text(deployment_to_json(deployment)));
  for (std::size_t i = 0; i < deployment.routing.transfers.size(); ++i) {
    if (deployment.payload_bytes(i) > kSmallPayload) continue;
    CHECK(deployment.payload_bytes(i) + kFrameHeaderBytes <= deployment.largest_frame_bytes());
    std::vector<std::byte> frame(kFrameHeaderBytes + deployment.payload_bytes(i));
    seal_frame(deployment.header_of(i), frame);
    CHECK(check_frame(deployment, frame).has_value());
  }
  if (deployment.routing.transfers.size() * deployment.plan.window > kFewTransfers) return;
  for (std::size_t device = 0; device < deployment.plan.devices.size() && device < 8; ++device) {
    (void)JoinTable(deployment, device).capacity_bytes();
    (void)deployment.senders_to(device);
  }
}

void read_request(const std::string& op, const JsonReader& request, std::span<const std::byte> bytes) {
  if (op == "deploy") {
    const auto deploy = deploy_request_from(request);
    if (!deploy) return;
    CHECK(deploy->device < deploy->deployment.plan.devices.size());
    check_deployment(deploy->deployment);
  } else if (op == "put") {
    const auto put = put_request_from(request, fuzz::example_plans().back());
    CHECK(!put || put->offset <= put->total);
  } else if (op == "cut") {
    const Plan& plan = fuzz::example_plans().back();
    const auto names = cut_request_from(request, plan);
    CHECK(!names || names->size() == plan.stages.size());
  } else if (op == "start") {
    (void)peer_options_from(request);
  } else if (op == "link_ping") {
    const auto plan = ping_plan_from(request);
    if (!plan) return;
    const Json json = ping_plan_to_json(*plan);
    CHECK(ping_plan_from(JsonReader(json)).has_value());
  } else if (op == "profile") {
    const auto job = profile_job_from(request, bytes);
    if (job) (void)needed_bytes(*job);
  }
}

void read_reply(const JsonReader& reply) {
  if (const auto times = ping_times_from(reply)) CHECK(ping_times_from(JsonReader(ping_times_to_json(*times))));
  if (const auto result = profile_result_from(reply)) {
    const Json json = profile_result_to_json(*result);
    CHECK(profile_result_from(JsonReader(json)).has_value());
  }
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  Random random(seed);
  const auto message = decode_control(fuzz::bytes_of(data, size));
  if (!message || random.integer(0, 5) == 0) return LLVMFuzzerMutate(data, size, max_size);
  Json json = message->json;
  std::string bytes(reinterpret_cast<const char*>(message->bytes.data()), message->bytes.size());
  if (bytes.empty() || random.integer(0, 2) == 0) {
    fuzz::mutate_json(json, random);
  } else {
    const std::size_t length = bytes.size();
    bytes.resize(length + 16);
    bytes.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(bytes.data()), length, bytes.size()));
  }
  const std::string text = to_text(json);
  const auto length = static_cast<std::uint32_t>(text.size());
  const std::string made = std::string(reinterpret_cast<const char*>(&length), sizeof length) + text + bytes;
  return fuzz::put_or_mutate(made, data, size, max_size);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto message = decode_control(fuzz::bytes_of(data, size));
  if (!message) return 0;
  CHECK(message->bytes.size() < size);
  const JsonReader reader(message->json);
  const auto op = reader.string("op");
  if (op) {
    read_request(*op, reader, message->bytes);
  } else {
    read_reply(reader);
  }
  return 0;
}
