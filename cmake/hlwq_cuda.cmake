# Finds a CUDA compiler and sets HLWQ_HAVE_CUDA. HLWQ_CUDA: AUTO (use one if there is one), ON, OFF.
set(HLWQ_CUDA AUTO CACHE STRING "CUDA back end: AUTO, ON or OFF")
set_property(CACHE HLWQ_CUDA PROPERTY STRINGS AUTO ON OFF)
# Code for 8.0 runs on every 8.x and code for 9.0 on Hopper; 9.0's intermediate form is for what
# comes after. "native" builds fastest where the GPU is.
set(HLWQ_CUDA_ARCHITECTURES "80-real;86-real;89-real;90-real;90-virtual" CACHE STRING
    "GPU architectures to compile for, as CMAKE_CUDA_ARCHITECTURES")

set(HLWQ_HAVE_CUDA OFF)
if(NOT HLWQ_CUDA STREQUAL "OFF")
  if(NOT CMAKE_CUDA_COMPILER)
    unset(CMAKE_CUDA_COMPILER CACHE)  # looked for in vain before; it may be there by now
    if(NOT DEFINED ENV{CUDACXX} AND EXISTS /usr/local/cuda/bin/nvcc)
      set(CMAKE_CUDA_COMPILER /usr/local/cuda/bin/nvcc)
    endif()
  endif()
  set(CMAKE_CUDA_ARCHITECTURES ${HLWQ_CUDA_ARCHITECTURES})
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    # CMake 3.25 does not know the C++20 flag of nvcc 13.
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
    # For projects that require 3.25, CMake 3.25.1 sets a property of CUDA::nvToolsExt without asking
    # whether it was found, and CUDA 13 has no such library.
    set(required_version ${CMAKE_MINIMUM_REQUIRED_VERSION})
    set(CMAKE_MINIMUM_REQUIRED_VERSION 3.24)
    find_package(CUDAToolkit REQUIRED)
    set(CMAKE_MINIMUM_REQUIRED_VERSION ${required_version})
    set(HLWQ_HAVE_CUDA ON)
  elseif(HLWQ_CUDA STREQUAL "ON")
    message(FATAL_ERROR "HLWQ_CUDA is ON, but there is no CUDA compiler: set CUDACXX to an nvcc "
                        "(scripts/install_cuda.sh makes a toolkit of the Python index's wheels)")
  endif()
endif()
message(STATUS "CUDA back end: ${HLWQ_HAVE_CUDA}")

# A test that no kernel of `target` spills registers or keeps arrays in local memory.
function(hlwq_test_spills target)
  find_package(Python3 COMPONENTS Interpreter REQUIRED)
  find_program(HLWQ_CUOBJDUMP cuobjdump HINTS ${CUDAToolkit_BIN_DIR})
  add_test(NAME cuda_no_spills
           COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/scripts/check_spills.py
                   ${HLWQ_CUOBJDUMP} $<TARGET_FILE:${target}>)
  set_tests_properties(cuda_no_spills PROPERTIES LABELS kernels TIMEOUT 600 SKIP_RETURN_CODE 77)
endfunction()
