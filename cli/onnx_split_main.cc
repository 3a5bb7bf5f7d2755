#include "cli/commands.h"
#include "cli/interrupt.h"
#include "engine/blas_core.h"

int main(int argc, char** argv) {
  onnx_split::ensure_blas_core(argv);
  onnx_split::watch_for_interrupts();
  return onnx_split::run_program(argc, argv);
}
