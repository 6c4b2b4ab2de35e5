# What is installed beside the programs, and how another project finds it: find_package(penstock COMPONENTS daemon c)
# or pkg-config (penstock for C++, penstock-c). A component is an export set of its own, so that a program that uses only
# the library does not have to have what the daemon links. bindings/c installs penstock-c-targets.cmake the same way and
# becomes component c.
#
# An install component, on the other hand, is a Debian package: a folder names its own as the default, see debian.cmake.
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME dev)

include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/penstock)

install(TARGETS penstock EXPORT penstock-targets)
install(TARGETS penstock_daemon EXPORT penstock-daemon-targets)
install(EXPORT penstock-targets NAMESPACE penstock:: DESTINATION ${package_dir})
install(EXPORT penstock-daemon-targets NAMESPACE penstock:: DESTINATION ${package_dir})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/transport/include/penstock ${PROJECT_SOURCE_DIR}/daemon/include/penstock
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h")

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/penstock-config.cmake.in
  ${PROJECT_BINARY_DIR}/penstock-config.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/penstock-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/penstock-config.cmake ${PROJECT_BINARY_DIR}/penstock-config-version.cmake
        DESTINATION ${package_dir})

# The prefix is found from where the file lies, so that an installed tree can be moved.
file(RELATIVE_PATH pc_prefix /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" pc_prefix ${pc_prefix})
if(BUILD_SHARED_LIBS)
  set(pc_requires "Requires.private")
else()
  set(pc_requires "Requires")
endif()
foreach(module IN ITEMS penstock penstock-c)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${module}.pc.in ${PROJECT_BINARY_DIR}/${module}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${module}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
