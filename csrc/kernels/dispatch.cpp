#include "kernels/dispatch.h"

#include "kernels/column_sums.h"
#include "kernels/correlation.h"
#include "kernels/gemm.h"

namespace pydl::kernels {

PYDL_DISPATCH(GemmKernels, gemm)
PYDL_DISPATCH_FROM(baseline, ColumnSums, column_sums)
PYDL_DISPATCH_FROM(baseline, CorrelationKernels, correlation)
PYDL_DISPATCH_FROM(baseline, CorrelationKernels, depthwise)

}  // namespace pydl::kernels
