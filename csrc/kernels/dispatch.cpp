#include "kernels/dispatch.h"

#include "kernels/gemm.h"

namespace pydl::kernels {

PYDL_DISPATCH(GemmKernels, gemm)

}  // namespace pydl::kernels
