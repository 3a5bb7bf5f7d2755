// The ONNX operators that can be imported and exported: one row for each form that an operator has had, in one explicit
// table (onnx_import/op_table.cc). The importer finds a node's row by name and the model's opset; the exporter uses the
// rows of the opset that it writes, the other way round.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "graph/op_type.h"
#include "onnx_import/graph_writer.h"

namespace onnx_split {

inline constexpr int kFirstOpset = 1;
inline constexpr int kLastOpset = 21;

// An ONNX input that is an attribute in the graph.
struct Parameter {
  enum class Kind : std::uint8_t { kNone, kInts, kFloats, kInt, kFloat };
  std::size_t input = 0;
  std::string_view name;
  Kind kind = Kind::kNone;
};

inline constexpr std::size_t kAnyOutputs = ~std::size_t{0};

struct OpRow {
  std::string_view name;  // ONNX's
  int since = kFirstOpset;
  int until = kLastOpset;
  OpType op = OpType::kIdentity;
  // Brings the node into the graph's form and emits it (onnx_import/converters.h).
  Expected<void> (*convert)(OnnxNode node, GraphWriter& writer) = nullptr;
  // The attributes that the row understands, separated by spaces; a node with any other is refused.
  //   name        understood; the converter sees it
  //   name=a|b    understood with these values only (integers or strings)
  //   -name       doesn't change an inference's answer: dropped (also -name=a)
  //   !name=a     must be there (its default is another value); combines with -
  std::string_view attributes = {};
  std::array<Parameter, 4> parameters = {};
  // Further ones are refused if anything reads them. Of several, the converter gets those up to the last that is read;
  // with kAnyOutputs, all.
  std::size_t max_outputs = 1;
};

// nullptr: no such operator at this opset.
const OpRow* find_row(std::string_view name, std::int64_t opset);
std::span<const OpRow> all_rows();

// The parameter that input number `input` is; nullptr for operands.
const Parameter* parameter_at(const OpRow& row, std::size_t input);

// Whether the row's operator has this attribute (as an attribute, and with an effect).
bool understands(const OpRow& row, std::string_view attribute);

// Why the row can't take these attributes; empty if it can. Drops the ones that don't matter.
std::string check_attributes(const OpRow& row, Attributes& attributes);

}  // namespace onnx_split
