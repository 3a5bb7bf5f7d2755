// What a coordinator asks of a runner (docs/wire.md, "Control messages"), read and checked as far as that takes no
// runner. Pure functions; errors say where in the request, what was expected and what was found.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "fleet/deployment.h"
#include "fleet/executor.h"
#include "fleet/part_store.h"

namespace onnx_split {

struct AnnouncedPart {
  PartId id;
  std::string hash;  // whether it is one, the part store says
};

struct DeployRequest {
  Deployment deployment;
  std::size_t device = 0;
  std::vector<AnnouncedPart> parts;  // those of the device, in order
  std::uint64_t replaces = 0;        // an epoch that goes on meanwhile; 0: none
};

struct PutRequest {
  PartId part;
  PartFile file = PartFile::kModel;
  std::uint64_t offset = 0;  // at most `total`
  std::uint64_t total = 0;
};

// Of "cut": the names of the nodes of each stage, which the deployment's plan leaves out.
using StageNodeNames = std::vector<std::vector<std::string>>;

// Parts in a request or a reply: [{"stage": …, "part": …}, …]
Json part_ids_to_json(const std::vector<PartId>& ids);
Expected<std::vector<PartId>> part_ids_from(const JsonReader& list, const Plan& plan);

Expected<DeployRequest> deploy_request_from(const JsonReader& request);
Expected<PutRequest> put_request_from(const JsonReader& request, const Plan& plan);
Expected<StageNodeNames> cut_request_from(const JsonReader& request, const Plan& plan);
Json stage_nodes_to_json(const Plan& plan);
Expected<PeerOptions> peer_options_from(const JsonReader& request);  // of "start"

}  // namespace onnx_split
