# What find_package(pydl) needs: the library, the headers and the CMake package. In a wheel the
# prefix is the Python package's own folder (wheel.install-dir in pyproject.toml).
if(SKBUILD)
  set(CMAKE_INSTALL_LIBDIR lib)     # pydl.cmake_dir() names it
  set(PYDL_NAMELINK NAMELINK_SKIP)  # a wheel holds no symbolic links
  install(TARGETS _core LIBRARY DESTINATION .)
endif()
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(PYDL_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/pydl)

install(TARGETS pydl EXPORT pydlTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ${PYDL_NAMELINK})
install(DIRECTORY csrc/include/pydl DESTINATION include)
install(EXPORT pydlTargets NAMESPACE pydl:: DESTINATION ${PYDL_CMAKE_DIR})

file(CONFIGURE OUTPUT pydlConfig.cmake @ONLY CONTENT [[
if(NOT @BUILD_SHARED_LIBS@)
  include(CMakeFindDependencyMacro)
  find_dependency(OpenMP COMPONENTS CXX)
endif()
include(${CMAKE_CURRENT_LIST_DIR}/pydlTargets.cmake)
]])
write_basic_package_version_file(pydlConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/pydlConfig.cmake
        ${CMAKE_CURRENT_BINARY_DIR}/pydlConfigVersion.cmake
        DESTINATION ${PYDL_CMAKE_DIR})
