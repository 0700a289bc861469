#include "kernels/dispatch.h"

#include "kernels/correlation.h"
#include "kernels/gemm.h"

namespace pydl::kernels {

PYDL_DISPATCH(GemmKernels, gemm)
PYDL_DISPATCH_FROM(baseline, CorrelationKernels, correlation)

}  // namespace pydl::kernels
