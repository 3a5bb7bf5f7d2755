// TensorProto ⇄ Tensor. Float, int64, int32 (which becomes int64) and bool; everything else is refused by name.
#pragma once

#include <cstdint>
#include <string>

#include "graph/tensor.h"
#include "onnx_import/external_data.h"
#include "onnx_import/model_reader.h"

namespace onnx {
class TensorProto;
}

namespace onnx_split {

// ONNX's TensorProto.DataType, as a number, by name: "float16".
std::string onnx_type_name(std::int64_t onnx_type);
// The graph's type of it: kUnsupported for all but float, int64, int32 and bool.
Expected<DataType> import_type(std::int64_t onnx_type);
std::int32_t export_type(DataType type);
// data_type_name's inverse.
Expected<DataType> data_type_from_name(std::string_view name);

// Takes the data out of `proto` without a copy where it can. `bytes` are the ones that read_model took out of it. The
// size that the shape claims is checked against what is there before anything is allocated.
Expected<Tensor> take_tensor(onnx::TensorProto& proto, TensorBytes bytes, ExternalData& external);

// Type and shape, without data.
void describe_tensor(const TensorType& type, const std::string& name, onnx::TensorProto& proto);

}  // namespace onnx_split
