// An index that can't be mistaken for another kind of index: StrongId<struct NodeTag> is not StrongId<struct ValueTag>.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>

namespace onnx_split {

template <class Tag>
class StrongId {
 public:
  constexpr StrongId() = default;  // the invalid id
  constexpr explicit StrongId(std::size_t index) : index_(static_cast<std::uint32_t>(index)) {}

  constexpr bool valid() const { return index_ != kInvalid; }
  constexpr std::size_t index() const { return index_; }
  constexpr auto operator<=>(const StrongId&) const = default;

 private:
  static constexpr std::uint32_t kInvalid = std::numeric_limits<std::uint32_t>::max();
  std::uint32_t index_ = kInvalid;
};

}  // namespace onnx_split

template <class Tag>
struct std::hash<onnx_split::StrongId<Tag>> {
  std::size_t operator()(onnx_split::StrongId<Tag> id) const noexcept { return id.index(); }
};
