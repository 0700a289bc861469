include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# In a wheel all of it goes into the package's folder: pydl/_core.so, pydl/lib, pydl/include.
if(SKBUILD)
  set(PYDL_PREFIX pydl/)
  set(PYDL_LIBDIR pydl/lib)
  install(TARGETS _core LIBRARY DESTINATION pydl)
else()
  set(PYDL_PREFIX)
  set(PYDL_LIBDIR ${CMAKE_INSTALL_LIBDIR})
  if(TARGET _core)
    install(TARGETS _core LIBRARY DESTINATION ${PYDL_LIBDIR}/python/pydl)
  endif()
endif()

install(TARGETS pydl EXPORT pydlTargets ARCHIVE DESTINATION ${PYDL_LIBDIR})
install(DIRECTORY csrc/include/pydl DESTINATION ${PYDL_PREFIX}include)
install(EXPORT pydlTargets NAMESPACE pydl:: DESTINATION ${PYDL_LIBDIR}/cmake/pydl)
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/pydlConfig.cmake
"include(CMakeFindDependencyMacro)
find_dependency(OpenMP COMPONENTS CXX)
include(\${CMAKE_CURRENT_LIST_DIR}/pydlTargets.cmake)
")
write_basic_package_version_file(pydlConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/pydlConfig.cmake
        ${CMAKE_CURRENT_BINARY_DIR}/pydlConfigVersion.cmake
        DESTINATION ${PYDL_LIBDIR}/cmake/pydl)
