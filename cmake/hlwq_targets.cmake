# One library a folder, one test program a folder; the links state the layers of docs/architecture.md.

# Flags every target of the project gets. -ffp-contract=off: the compiler must not fuse a*b+c by
# itself, because the order and rounding of design D1 are written out with explicit fma.
function(hlwq_flags target)
  set(flags -Wall -Wextra -Wshadow -ffp-contract=off)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # g++ 12 sees overlapping copies in every "literal" + std::string (GCC bug 105651).
    list(APPEND flags -Wno-restrict)
  endif()
  if(HLWQ_WERROR)
    list(APPEND flags -Werror)
  endif()
  if(HLWQ_SANITIZE)
    list(APPEND flags -fsanitize=${HLWQ_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  endif()
  # nvcc's flags stand in src/kernels/cuda.
  target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${flags}>")
  if(HLWQ_SANITIZE)
    target_link_options(${target} PRIVATE -fsanitize=${HLWQ_SANITIZE})
  endif()
  if(HLWQ_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# hlwq_library(base SOURCES a.cc ... LINKS hlwq::tensor ...)
function(hlwq_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_library(hlwq_${name} STATIC ${ARG_SOURCES})
  add_library(hlwq::${name} ALIAS hlwq_${name})
  target_include_directories(hlwq_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(hlwq_${name} PUBLIC ${ARG_LINKS})
  hlwq_flags(hlwq_${name})
endfunction()

# hlwq_test(io SOURCES a_test.cc ... LINKS hlwq::io ...): one ctest entry per GoogleTest case.
function(hlwq_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name}_tests ${ARG_SOURCES})
  target_include_directories(${name}_tests PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${name}_tests PRIVATE HLWQ_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                                   HLWQ_TEST_DATA="${HLWQ_TEST_DATA}")
  target_link_libraries(${name}_tests PRIVATE ${ARG_LINKS} GTest::gtest_main)
  hlwq_flags(${name}_tests)
  gtest_discover_tests(${name}_tests PROPERTIES TIMEOUT 600 LABELS ${name} DISCOVERY_TIMEOUT 60)
endfunction()
