// Loads weights as floats, whatever they are kept as. Included once for each instruction set (Highway).
#if defined(ONNX_SPLIT_WIDEN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ONNX_SPLIT_WIDEN_INL_H_
#undef ONNX_SPLIT_WIDEN_INL_H_
#else
#define ONNX_SPLIT_WIDEN_INL_H_
#endif

#include <hwy/highway.h>

#include "base/half.h"

HWY_BEFORE_NAMESPACE();
namespace onnx_split {
namespace HWY_NAMESPACE {

template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> load_weights(D d, const float* from) {
  return hwy::HWY_NAMESPACE::LoadU(d, from);
}

template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> load_weights(D d, const Half* from) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::Rebind<hwy::float16_t, D> halves;
  return hn::PromoteTo(d, hn::LoadU(halves, reinterpret_cast<const hwy::float16_t*>(from)));
}

}  // namespace HWY_NAMESPACE
}  // namespace onnx_split
HWY_AFTER_NAMESPACE();

#endif  // for this instruction set
