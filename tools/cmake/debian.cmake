# The Debian packages, one an install component; tools/package builds them. What CPack cannot say of them is done by
# tools/debian/prepare, and what must be known of the built library by tools/debian/cpack.cmake.

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")  # each package has its own
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SOURCE penstock)
set(CPACK_PACKAGE_CONTACT "Penstock maintainers <maintainers@penstock.invalid>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL runtime dev daemon tools)
if(TARGET penstock_python)
  list(APPEND CPACK_COMPONENTS_ALL python)
endif()
if(TARGET penstock_node)
  list(APPEND CPACK_COMPONENTS_ALL node)
  set(CPACK_PENSTOCK_ADDON ${PROJECT_BINARY_DIR}/node/penstock/penstock.node)
endif()
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/tools/debian/prepare.cmake)
set(CPACK_PROJECT_CONFIG_FILE ${PROJECT_SOURCE_DIR}/tools/debian/cpack.cmake)
set(CPACK_PENSTOCK_LIBRARY ${PROJECT_BINARY_DIR}/bindings/c/libpenstock.so.1)
set(CPACK_PENSTOCK_SOURCE ${PROJECT_SOURCE_DIR})
set(debian_version ${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE})

# penstock_deb(COMPONENT NAME SECTION "DEPENDS" "DESCRIPTION"): its first line is the synopsis.
function(penstock_deb component name section depends description)
  string(TOUPPER ${component} upper)
  foreach(pair IN ITEMS "NAME=${name}" "SECTION=${section}" "DEPENDS=${depends}")
    string(REGEX MATCH "^([A-Z]+)=(.*)$" pair "${pair}")
    set(CPACK_DEBIAN_${upper}_PACKAGE_${CMAKE_MATCH_1} "${CMAKE_MATCH_2}" PARENT_SCOPE)
  endforeach()
  set(CPACK_DEBIAN_${upper}_DESCRIPTION "${description}" PARENT_SCOPE)
endfunction()

# No line longer than 79 characters.
set(about "Penstock carries events between the processes of one host through shared
memory, with topics, consumer groups, acknowledgement, retries, dead letters
and durability, and without a broker in the data path.")
penstock_deb(runtime libpenstock1 libs ""
"event transport for one host - shared library
${about}
.
This package has the library with the C interface, which bindings use.")
penstock_deb(dev libpenstock-dev libdevel
"libpenstock1 (= ${debian_version}), libexpected-dev, libspdlog-dev, libtomlplusplus-dev, liburing-dev (>= 2.3), pkgconf | pkg-config"
"event transport for one host - development files
${about}
.
This package has the headers for C++20 and C11, the static C++ libraries, what
CMake and pkg-config need to find them, and recipes for effects exactly once.")
penstock_deb(daemon penstockd net ""
"event transport for one host - daemon
${about}
.
This package has the daemon that writes the events of a bus to disk and keeps
the books on retries and dead letters.")
penstock_deb(tools penstock-tools utils ""
"event transport for one host - command line
${about}
.
This package has the penstock command: it publishes and subscribes, shows and
changes topics and groups, redrives dead letters, verifies what is on disk, and
measures.")
math(EXPR Python_NEXT_MINOR "0${Python_VERSION_MINOR} + 1")
penstock_deb(python python3-penstock python
"python3 (>= ${Python_VERSION_MAJOR}.${Python_VERSION_MINOR}~), python3 (<< ${Python_VERSION_MAJOR}.${Python_NEXT_MINOR}~)"
"event transport for one host - Python module
${about}
.
This package has the module penstock, with its types, for programs with
threads and with asyncio.")
penstock_deb(node node-penstock javascript "nodejs (>= 18), libpenstock1 (>= ${PROJECT_VERSION})"
"event transport for one host - Node.js module
${about}
.
This package has the module penstock, with its types, for programs with
promises and async iterators.")
set(CPACK_DEBIAN_DAEMON_PACKAGE_RECOMMENDS systemd)  # for its unit; it runs without
set(CPACK_DEBIAN_TOOLS_PACKAGE_RECOMMENDS penstockd)
set(CPACK_DEBIAN_PYTHON_PACKAGE_RECOMMENDS penstockd)
set(CPACK_DEBIAN_NODE_PACKAGE_RECOMMENDS penstockd)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SUGGESTS penstockd)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_MULTIARCH same)  # which CPack takes from 3.31 on
set(CPACK_DEBIAN_DEV_PACKAGE_MULTIARCH same)

# The library's own control files. CPack would call ldconfig in maintainer scripts where it looks for libraries; Debian
# has a trigger for that, so it must not look (SHLIBDEPS), and cpack.cmake finds the dependencies instead.
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_NODE_PACKAGE_SHLIBDEPS OFF)  # it would look for what is in the program that loads it
set(control ${PROJECT_BINARY_DIR}/debian)
file(WRITE ${control}/triggers "activate-noawait ldconfig\n")
file(WRITE ${control}/shlibs "libpenstock 1 libpenstock1 (>= ${PROJECT_VERSION})\n")
# From the version script: each call with its node, and the release that the node came with.
file(STRINGS ${PROJECT_SOURCE_DIR}/bindings/c/penstock.map lines)
set(symbols "libpenstock.so.1 libpenstock1 #MINVER#\n* Build-Depends-Package: libpenstock-dev\n")
foreach(line IN LISTS lines)
  if(line MATCHES "^(PENSTOCK_[0-9.]+) {  /\\* since ([0-9.]+) \\*/$")
    set(node ${CMAKE_MATCH_1})
    set(since ${CMAKE_MATCH_2})
    string(APPEND symbols " ${node}@${node} ${since}\n")
  elseif(line MATCHES "^    (penstock_[a-z_]+).$")
    string(APPEND symbols " ${CMAKE_MATCH_1}@${node} ${since}\n")
  endif()
endforeach()
file(WRITE ${control}/symbols "${symbols}")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA ${control}/triggers ${control}/shlibs ${control}/symbols)

file(GLOB scripts CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tools/debian/penstockd/*)
set(CPACK_DEBIAN_DAEMON_PACKAGE_CONTROL_EXTRA ${scripts})

include(CPack)
