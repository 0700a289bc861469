# The core as a shared library: exports.map says what is seen from outside, and calls within stay as
# direct as in a static library.
set(PYDL_EXPORTS ${CMAKE_CURRENT_LIST_DIR}/exports.map)
set_target_properties(pydl PROPERTIES SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
                      CXX_VISIBILITY_PRESET default LINK_DEPENDS ${PYDL_EXPORTS})
target_compile_options(pydl PRIVATE -fno-semantic-interposition)
target_link_options(pydl PRIVATE LINKER:-Bsymbolic-functions LINKER:--version-script=${PYDL_EXPORTS})
