# What the project is built from. Only tl::expected appears in the public headers; the rest stays inside.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBURING REQUIRED IMPORTED_TARGET liburing>=2.3)
find_package(tl-expected CONFIG REQUIRED)
find_package(tomlplusplus CONFIG REQUIRED)
find_package(Boost 1.74 REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)

# xxHash is inlined (XXH_INLINE_ALL), so its header is all that is needed.
find_path(PENSTOCK_XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
mark_as_advanced(PENSTOCK_XXHASH_INCLUDE_DIR)
target_include_directories(penstock_build SYSTEM INTERFACE ${PENSTOCK_XXHASH_INCLUDE_DIR})
# Probes for tracers are one header of macros.
option(PENSTOCK_PROBES "Put in probes for tracers (USDT) where <sys/sdt.h> is there" ON)
find_path(PENSTOCK_SDT_INCLUDE_DIR sys/sdt.h)
mark_as_advanced(PENSTOCK_SDT_INCLUDE_DIR)
if(PENSTOCK_PROBES AND PENSTOCK_SDT_INCLUDE_DIR)
  target_compile_definitions(penstock_build INTERFACE PENSTOCK_PROBES)
elseif(PENSTOCK_PROBES)
  message(STATUS "The probes for tracers are left out: systemtap-sdt-dev is missing")
endif()
target_link_libraries(penstock_build INTERFACE tl::expected Threads::Threads)
