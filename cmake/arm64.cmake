# Builds for arm64 (Raspberry Pi OS and Debian bookworm of 64 bits) on another machine: Debian's cross compiler, and its
# :arm64 packages beside the machine's own, which scripts/install-dependencies --arm64 installs.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_STRIP aarch64-linux-gnu-strip)

# libyaml-cpp-dev of two architectures can't be installed together: the script unpacks it here.
list(PREPEND CMAKE_PREFIX_PATH "${CMAKE_CURRENT_LIST_DIR}/../build/arm64-packages/usr")
# Of CMake's packages none but those of arm64, and those without an architecture.
set(CMAKE_IGNORE_PREFIX_PATH "/usr/lib/x86_64-linux-gnu")

# Tests run in the emulator. The A72 is the Raspberry Pi 4's.
find_program(ONNX_SPLIT_QEMU qemu-aarch64-static)
if(ONNX_SPLIT_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR "${ONNX_SPLIT_QEMU};-cpu;cortex-a72")
endif()
