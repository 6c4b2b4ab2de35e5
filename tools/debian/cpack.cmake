# Read by cpack when it begins: what the C library and Node's addon depend on, by dpkg-shlibdeps.
file(MAKE_DIRECTORY ${CPACK_PACKAGE_DIRECTORY}/shlibdeps/debian)
file(WRITE ${CPACK_PACKAGE_DIRECTORY}/shlibdeps/debian/control "Source: penstock\n\nPackage: libpenstock1\nArchitecture: any\n")
function(penstock_shlibdeps out)
  execute_process(COMMAND dpkg-shlibdeps -O --warnings=0 ${ARGN}
    WORKING_DIRECTORY ${CPACK_PACKAGE_DIRECTORY}/shlibdeps
    OUTPUT_VARIABLE depends OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX REPLACE "^.*shlibs:Depends=" "" depends "${depends}")
  set(${out} "${depends}" PARENT_SCOPE)
endfunction()
penstock_shlibdeps(CPACK_DEBIAN_RUNTIME_PACKAGE_DEPENDS -e${CPACK_PENSTOCK_LIBRARY})
if(CPACK_PENSTOCK_ADDON)
  # Its own library is in none of the packages that are installed; that dependency is said in debian.cmake.
  cmake_path(GET CPACK_PENSTOCK_LIBRARY PARENT_PATH folder)
  penstock_shlibdeps(depends --ignore-missing-info -l${folder} -e${CPACK_PENSTOCK_ADDON})
  string(APPEND CPACK_DEBIAN_NODE_PACKAGE_DEPENDS ", ${depends}")
endif()
