# onnx_split_room(<name> [GROUPED] [FILES <some> | EXCEPT <some>] LINKS <public targets> PRIVATE <private targets>)
#
# A room is one static library, onnx_split::<name>, made of every .cc in its folder; two where others need a part of it
# without the rest. Includes are written from the repository root ("graph/shape.h"). A room sees another one only if it
# links it, and include directories are checked by scripts/check-arrows: that is how the arrows of docs/architecture.md
# are enforced.
#
# GCC 12 reports ordinary string concatenation (-Wrestrict, its bug 105651) and moved-from optionals
# (-Wmaybe-uninitialized, its bug 80635).
set(ONNX_SPLIT_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
    $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized> -Werror)

function(onnx_split_options target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${target} PRIVATE ${ONNX_SPLIT_WARNINGS})
  if(ONNX_SPLIT_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${ONNX_SPLIT_SANITIZE} -fno-omit-frame-pointer
                                            -fno-sanitize-recover=all)
    target_link_options(${target} PUBLIC -fsanitize=${ONNX_SPLIT_SANITIZE})
  endif()
  if(ONNX_SPLIT_FUZZ)
    target_compile_options(${target} PUBLIC -fsanitize=fuzzer-no-link)  # counts what an input reaches
  endif()
endfunction()

# GROUPED: for the sanitizers, several files are compiled as one, which takes half the time; scripts/check-names sees to it
# that what is in their unnamed namespaces differs. Elsewhere each is compiled by itself, so that it includes what it needs.
# FILES: a part of a room that others need without the rest, and EXCEPT these, the rest.
function(onnx_split_room name)
  cmake_parse_arguments(ROOM "GROUPED" "" "FILES;EXCEPT;LINKS;PRIVATE" ${ARGN})
  if(ROOM_FILES)
    set(sources ${ROOM_FILES})
  else()
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cc")
    list(FILTER sources EXCLUDE REGEX "_main\\.cc$")
    list(TRANSFORM ROOM_EXCEPT PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/")
    foreach(file ${ROOM_EXCEPT})
      if(NOT file IN_LIST sources)
        message(FATAL_ERROR "onnx_split_room(${name}): there is no ${file}")
      endif()
    endforeach()
    list(REMOVE_ITEM sources ${ROOM_EXCEPT})
  endif()
  add_library(onnx_split_${name} STATIC ${sources})
  add_library(onnx_split::${name} ALIAS onnx_split_${name})
  set_target_properties(onnx_split_${name} PROPERTIES EXPORT_NAME ${name})
  onnx_split_options(onnx_split_${name})
  if(ROOM_GROUPED AND ONNX_SPLIT_SANITIZE)
    set_target_properties(onnx_split_${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
  endif()
  target_include_directories(onnx_split_${name} PUBLIC
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>"
    "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/onnx_split>")
  target_link_libraries(onnx_split_${name} PUBLIC ${ROOM_LINKS} PRIVATE ${ROOM_PRIVATE})
endfunction()
