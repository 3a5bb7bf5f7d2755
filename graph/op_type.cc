#include "graph/op_type.h"

#include "graph/operators.h"

namespace onnx_split {

std::string_view op_name(OpType op) { return operator_of(op).name; }

std::optional<OpType> op_from_name(std::string_view name) {
  for (const Operator& definition : all_operators()) {
    if (definition.name == name) return definition.type;
  }
  return std::nullopt;
}

}  // namespace onnx_split
