# How every target of the project is compiled.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# The objects of a layer go into static and shared libraries, and into the Python module.
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(PROJECT_IS_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
  endif()
  # No NDEBUG: assertions are for our own bugs and stay on in release builds. Line tables make a backtrace readable.
  set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")
  set(CMAKE_C_FLAGS_RELEASE "-O2 -g1")

  find_program(PENSTOCK_CCACHE ccache)
  mark_as_advanced(PENSTOCK_CCACHE)
  if(PENSTOCK_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_C_COMPILER_LAUNCHER ${PENSTOCK_CCACHE})
    set(CMAKE_CXX_COMPILER_LAUNCHER ${PENSTOCK_CCACHE})
  endif()
endif()

# penstock_build carries the flags and the internal include roots to the targets of this project and to nobody else.
add_library(penstock_build INTERFACE)
target_include_directories(penstock_build INTERFACE
  ${PROJECT_SOURCE_DIR}/transport           # "log/ring.hpp"
  ${PROJECT_SOURCE_DIR}/transport/include   # <penstock/penstock.hpp>
  ${PROJECT_SOURCE_DIR}/daemon/include      # <penstock/daemon.hpp>
  ${PROJECT_SOURCE_DIR})                    # "daemon/persister.hpp"
target_compile_options(penstock_build INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor -Wold-style-cast>
  # Designated initialisers that leave fields at their defaults are how options are written here.
  -Wno-missing-field-initializers
  $<$<BOOL:${PENSTOCK_WERROR}>:-Werror>)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
  # The tail of a topic is replaced by one 16-byte compare-and-swap.
  target_compile_options(penstock_build INTERFACE -mcx16)
endif()

if(PENSTOCK_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "libFuzzer comes with clang; use tools/fuzz, or -DCMAKE_CXX_COMPILER=clang++-14")
  endif()
  set(PENSTOCK_SANITIZE "address,undefined")
  add_compile_options(-O1 -fsanitize=fuzzer-no-link)
endif()

if(PENSTOCK_SANITIZE)
  add_compile_options(-fsanitize=${PENSTOCK_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${PENSTOCK_SANITIZE})
  if(PENSTOCK_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # The thread sanitizer does not model fences and says so at each one; the models in spin and Relacy cover them.
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-tsan>)
  endif()
endif()

# penstock_library(TARGET ALIAS name FILE file INCLUDE folder SOURCES sources...): a C++ library of the package,
# penstock::name, libFILE, with its public headers in the folder; static or shared as BUILD_SHARED_LIBS says. Its ABI is
# promised to nobody, so a shared one is tied to the minor version.
function(penstock_library target)
  cmake_parse_arguments(PARSE_ARGV 1 library "" "ALIAS;FILE;INCLUDE" "SOURCES")
  if(NOT library_SOURCES)
    # A library of headers alone is archived all the same, so that whoever links it need not know.
    file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/no_sources.cpp CONTENT "")
    set(library_SOURCES ${CMAKE_CURRENT_BINARY_DIR}/no_sources.cpp)
  endif()
  add_library(${target} ${library_SOURCES})
  add_library(penstock::${library_ALIAS} ALIAS ${target})
  set_target_properties(${target} PROPERTIES
    EXPORT_NAME ${library_ALIAS}
    OUTPUT_NAME ${library_FILE}
    LINKER_LANGUAGE CXX
    VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
    INSTALL_RPATH "$ORIGIN")
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_include_directories(${target} INTERFACE
    $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/${library_INCLUDE}>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endfunction()

# penstock_program(TARGET COMPONENT component): a program people run. It stands in bin/ of the build tree, where the tests look for it,
# and finds the libraries of its prefix wherever that is moved.
function(penstock_program target)
  cmake_parse_arguments(PARSE_ARGV 1 program "" "COMPONENT" "")
  set_target_properties(${target} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin
    INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  install(TARGETS ${target} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT ${program_COMPONENT})
endfunction()
