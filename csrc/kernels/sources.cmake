# The kernels' sources, and pydl_add_cpu_kernels(), which builds the vectorised ones.
#
# cpu/*.cpp are built once per instruction set up to avx512 (kernels/isa.h picks at run time), in a
# namespace named after it, and those listed here also for the instructions for bfloat16
# (dispatch.cpp has the same table); everything else is built once, for the lowest. NaN and infinity
# must come out as IEEE says, so no -ffast-math: only contraction to FMA, and no errno or trap
# bookkeeping. Vectors of integers wrap around on purpose (-fwrapv), as the instructions do.

file(GLOB PYDL_KERNEL_SOURCES CONFIGURE_DEPENDS
     ${CMAKE_CURRENT_LIST_DIR}/*.cpp ${CMAKE_CURRENT_LIST_DIR}/ref/*.cpp)
set(PYDL_CPU_DIR ${CMAKE_CURRENT_LIST_DIR}/cpu)
file(GLOB PYDL_CPU_SOURCES CONFIGURE_DEPENDS ${PYDL_CPU_DIR}/*.cpp)

set(PYDL_SOURCES_amx col2im gemm correlation gemm_tile recurrent)
set(PYDL_SOURCES_avx512_bf16 ${PYDL_SOURCES_amx} activation lrn norm)

option(PYDL_AMX_EMULATED "AMX's instructions in C++, to test kernels on CPUs without it" OFF)

set(PYDL_ISAS baseline)
set(PYDL_FLAGS_baseline "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(PYDL_FLAGS_baseline -Os)  # for CPUs from before AVX2: small rather than fast
  list(APPEND PYDL_ISAS avx2 avx512 avx512_bf16 amx)
  set(PYDL_FLAGS_avx2 -mavx2 -mfma -mbmi2)
  set(PYDL_FLAGS_avx512 ${PYDL_FLAGS_avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512cd
                        -mprefer-vector-width=512)
  set(PYDL_FLAGS_avx512_bf16 ${PYDL_FLAGS_avx512} -mavx512bf16)
  set(PYDL_FLAGS_amx ${PYDL_FLAGS_avx512_bf16} -mamx-tile -mamx-bf16)
  if(PYDL_AMX_EMULATED)
    list(APPEND PYDL_FLAGS_amx -DPYDL_AMX_EMULATED)
    set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/isa.cpp
                                PROPERTIES COMPILE_DEFINITIONS PYDL_AMX_EMULATED)
  endif()
endif()

# Makes the object libraries pydl_kernels_<isa>, and sets `out` to the generator expressions of
# their objects. `includes` are the include directories of the core.
function(pydl_add_cpu_kernels out includes)
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  set(objects)
  foreach(isa ${PYDL_ISAS})
    set(target pydl_kernels_${isa})
    set(sources ${PYDL_CPU_SOURCES})
    if(DEFINED PYDL_SOURCES_${isa})
      list(TRANSFORM PYDL_SOURCES_${isa} REPLACE "(.+)" "${PYDL_CPU_DIR}/\\1.cpp"
           OUTPUT_VARIABLE sources)
    endif()
    add_library(${target} OBJECT ${sources})
    target_include_directories(${target} PRIVATE ${includes})
    target_compile_definitions(${target} PRIVATE PYDL_ISA=${isa})
    target_compile_features(${target} PRIVATE cxx_std_20)
    target_compile_options(${target} PRIVATE -O3 -ffp-contract=fast -fno-math-errno
                           -fno-trapping-math -fwrapv -Wall -Wextra -Wno-psabi ${PYDL_FLAGS_${isa}})
    target_link_libraries(${target} PRIVATE OpenMP::OpenMP_CXX)
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON
                          CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
    list(APPEND objects $<TARGET_OBJECTS:${target}>)
  endforeach()
  set(${out} ${objects} PARENT_SCOPE)
endfunction()
