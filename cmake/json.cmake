# PYDL_JSON_INCLUDE: where <nlohmann/json.hpp> is: a system package, or the PyPI package
# `nlohmann-json` of the Python that builds the wheel.
find_path(PYDL_JSON_INCLUDE nlohmann/json.hpp)
if(NOT PYDL_JSON_INCLUDE)
  find_package(Python REQUIRED COMPONENTS Interpreter)
  execute_process(COMMAND ${Python_EXECUTABLE} -c "import nlohmann_json; print(nlohmann_json.get_include())"
                  OUTPUT_VARIABLE PYDL_JSON_FOUND OUTPUT_STRIP_TRAILING_WHITESPACE
                  RESULT_VARIABLE PYDL_JSON_FAILED)
  if(PYDL_JSON_FAILED)
    message(FATAL_ERROR "nlohmann/json.hpp not found: pip install nlohmann-json, "
                        "or apt install nlohmann-json3-dev")
  endif()
  set(PYDL_JSON_INCLUDE ${PYDL_JSON_FOUND} CACHE PATH "Folder that holds nlohmann/json.hpp" FORCE)
endif()
