# cpack -G DEB in a build folder makes a .deb of the programs, with the runner's systemd unit. What it depends on is what
# the programs are linked with (dpkg-shlibdeps, of dpkg-dev).
set(doc ${CMAKE_INSTALL_DATAROOTDIR}/doc/onnx-split)
install(FILES ${PROJECT_SOURCE_DIR}/packaging/onnx-split-runner.service DESTINATION lib/systemd/system
        COMPONENT programs)
install(FILES ${PROJECT_SOURCE_DIR}/packaging/onnx-split-runner.default DESTINATION /etc/default
        RENAME onnx-split-runner COMPONENT programs EXCLUDE_FROM_ALL)
install(FILES ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/CHANGELOG.md ${PROJECT_SOURCE_DIR}/docs/cli.md
        DESTINATION ${doc} COMPONENT programs)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${doc} RENAME copyright COMPONENT programs)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME onnx-split)
set(CPACK_PACKAGE_CONTACT "The onnx-split developers <onnx-split@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL programs)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_PROGRAMS_PACKAGE_NAME onnx-split)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS libopenblas0-pthread)  # of the flavours of libopenblas0 this one
if(CMAKE_SYSTEM_PROCESSOR STREQUAL aarch64)
  set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE arm64)
endif()
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
foreach(file conffiles postinst prerm postrm)
  list(APPEND CPACK_DEBIAN_PROGRAMS_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/packaging/${file})
endforeach()
include(CPack)
