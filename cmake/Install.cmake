# install and export: find_package(onnx-split) gives onnx_split::engine and its neighbours.
include(CMakePackageConfigHelpers)
install(TARGETS onnx_split_base onnx_split_graph onnx_split_onnx_import onnx_split_engine onnx_split_transport
                onnx_split_partition onnx_split_fleet onnx_split_schema openblas xxhash
        EXPORT onnx-split-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(room base graph onnx_import engine transport partition fleet)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/onnx_split
          FILES_MATCHING PATTERN "*.h")
endforeach()
foreach(program onnx-split onnx-split-runner)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT programs)
  endif()
endforeach()
install(EXPORT onnx-split-targets NAMESPACE onnx_split:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/onnx-split)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/onnx-split-config.cmake.in
  ${PROJECT_BINARY_DIR}/onnx-split-config.cmake INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/onnx-split)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/onnx-split-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/onnx-split-config.cmake ${PROJECT_BINARY_DIR}/onnx-split-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/onnx-split)
