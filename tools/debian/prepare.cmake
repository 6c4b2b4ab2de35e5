# Run by cpack when all components are in their folders, before they become packages.
execute_process(COMMAND ${CPACK_PENSTOCK_SOURCE}/tools/debian/prepare ${CPACK_TEMPORARY_INSTALL_DIRECTORY}
                COMMAND_ERROR_IS_FATAL ANY)
