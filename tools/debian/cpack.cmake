# Read by cpack when it begins: what the C library depends on, by dpkg-shlibdeps.
file(MAKE_DIRECTORY ${CPACK_PACKAGE_DIRECTORY}/shlibdeps/debian)
file(WRITE ${CPACK_PACKAGE_DIRECTORY}/shlibdeps/debian/control "Source: penstock\n\nPackage: libpenstock1\nArchitecture: any\n")
execute_process(COMMAND dpkg-shlibdeps -O -e${CPACK_PENSTOCK_LIBRARY}
  WORKING_DIRECTORY ${CPACK_PACKAGE_DIRECTORY}/shlibdeps
  OUTPUT_VARIABLE depends OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
string(REGEX REPLACE "^.*shlibs:Depends=" "" CPACK_DEBIAN_RUNTIME_PACKAGE_DEPENDS "${depends}")
