#include "fleet/requests.h"

#include <algorithm>

namespace onnx_split {
namespace {

constexpr std::int64_t kLongestTimeoutMs = 600'000;

Expected<PartId> read_part_id(const JsonReader& request, const Plan& plan) {
  TRY_ASSIGN(const std::int64_t stage, request.integer("stage", 0, static_cast<std::int64_t>(plan.stages.size()) - 1));
  const auto s = static_cast<std::size_t>(stage);
  TRY_ASSIGN(const std::int64_t part,
             request.integer("part", 0, static_cast<std::int64_t>(plan.stages[s].parts.size()) - 1));
  return PartId{s, static_cast<std::size_t>(part)};
}

}  // namespace

Json part_ids_to_json(const std::vector<PartId>& ids) {
  Json list = Json::array();
  for (const PartId id : ids) list.push_back({{"stage", id.stage}, {"part", id.part}});
  return list;
}

Expected<std::vector<PartId>> part_ids_from(const JsonReader& list, const Plan& plan) {
  TRY_ASSIGN(const std::vector<JsonReader> elements, list.elements());
  std::vector<PartId> ids;
  for (const JsonReader& element : elements) {
    TRY_ASSIGN(const PartId id, read_part_id(element, plan));
    ids.push_back(id);
  }
  return ids;
}

Expected<DeployRequest> deploy_request_from(const JsonReader& request) {
  DeployRequest result;
  TRY_ASSIGN(const JsonReader body, request.at("deployment"));
  TRY_ASSIGN(result.deployment, deployment_from_json(body.value()));
  const auto devices = static_cast<std::int64_t>(result.deployment.plan.devices.size());
  TRY_ASSIGN(const std::int64_t device, request.integer("device", 0, devices - 1));
  result.device = static_cast<std::size_t>(device);
  TRY_ASSIGN(const JsonReader list, request.at("parts"));
  TRY_ASSIGN(const std::vector<JsonReader> parts, list.elements());
  std::vector<PartId> announced;
  for (const JsonReader& reader : parts) {
    TRY_ASSIGN(const PartId id, read_part_id(reader, result.deployment.plan));
    TRY_ASSIGN(std::string hash, reader.string("hash"));
    if (std::find(announced.begin(), announced.end(), id) != announced.end()) {
      return fail(ErrorCode::kInvalid, "{} is announced twice", to_string(id));
    }
    announced.push_back(id);
    result.parts.push_back({id, std::move(hash)});
  }
  if (request.has("replaces")) {
    TRY_ASSIGN(const std::int64_t replaces, request.integer("replaces", 1, INT64_MAX));
    result.replaces = static_cast<std::uint64_t>(replaces);
  }
  if (announced == result.deployment.parts_of(result.device)) return result;
  return fail(ErrorCode::kInvalid, "the announced parts aren't those of device {}", result.device);
}

Expected<PutRequest> put_request_from(const JsonReader& request, const Plan& plan) {
  PutRequest result;
  TRY_ASSIGN(result.part, read_part_id(request, plan));
  TRY_ASSIGN(const std::string name, request.string("file"));
  TRY_ASSIGN(result.file, part_file_from_name(name));
  TRY_ASSIGN(const std::int64_t total, request.integer("total", 0, INT64_MAX));
  TRY_ASSIGN(const std::int64_t offset, request.integer("offset", 0, total));
  result.total = static_cast<std::uint64_t>(total);
  result.offset = static_cast<std::uint64_t>(offset);
  return result;
}

Json stage_nodes_to_json(const Plan& plan) {
  Json stages = Json::array();
  for (const Stage& stage : plan.stages) stages.push_back(stage.nodes);
  return stages;
}

Expected<StageNodeNames> cut_request_from(const JsonReader& request, const Plan& plan) {
  TRY_ASSIGN(const JsonReader list, request.at("nodes"));
  TRY_ASSIGN(const std::vector<JsonReader> stages, list.elements());
  if (stages.size() != plan.stages.size()) {
    return fail(ErrorCode::kInvalid, "nodes of {} stages: the plan has {}", stages.size(), plan.stages.size());
  }
  StageNodeNames names;
  for (const JsonReader& stage : stages) {
    TRY_ASSIGN(const std::vector<JsonReader> elements, stage.elements());
    std::vector<std::string>& nodes = names.emplace_back();
    for (const JsonReader& element : elements) {
      TRY_ASSIGN(std::string name, element.string());
      nodes.push_back(std::move(name));
    }
  }
  return names;
}

Expected<PeerOptions> peer_options_from(const JsonReader& request) {
  PeerOptions options;
  TRY_ASSIGN(options.data_urls, request.strings("data_urls"));
  for (const auto& [name, member] : {std::pair{"connect_timeout_ms", &options.connect_timeout},
                                     std::pair{"heartbeat_period_ms", &options.heartbeat_period},
                                     std::pair{"heartbeat_timeout_ms", &options.heartbeat_timeout}}) {
    if (!request.has(name)) continue;
    TRY_ASSIGN(const std::int64_t value, request.integer(name, 1, kLongestTimeoutMs));
    *member = std::chrono::milliseconds(value);
  }
  return options;
}

}  // namespace onnx_split
