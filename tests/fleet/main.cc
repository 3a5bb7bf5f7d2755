#include <gtest/gtest.h>

#include "engine/blas_core.h"

int main(int argc, char** argv) {
  onnx_split::ensure_blas_core(argv);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
