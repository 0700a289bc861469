#include "kernels/dispatch.h"

#include "kernels/activation.h"
#include "kernels/column_sums.h"
#include "kernels/correlation.h"
#include "kernels/eltwise.h"
#include "kernels/embed.h"
#include "kernels/gemm.h"
#include "kernels/lrn.h"
#include "kernels/lstm.h"
#include "kernels/norm.h"
#include "kernels/pool.h"
#include "kernels/softmax.h"
#include "kernels/update.h"
#include "kernels/winograd.h"

namespace pydl::kernels {

PYDL_DISPATCH(ActivationKernels, activation)
PYDL_DISPATCH(EltwiseKernels, eltwise)
PYDL_DISPATCH(EmbedKernels, embed)
PYDL_DISPATCH_BF16(GemmKernels, gemm)
PYDL_DISPATCH_BF16(LrnKernels, lrn)
PYDL_DISPATCH_BF16(LstmKernels, lstm)
PYDL_DISPATCH_BF16(NormKernels, norm)
PYDL_DISPATCH(PoolKernels, pool)
PYDL_DISPATCH(SoftmaxKernels, softmax)
PYDL_DISPATCH(UpdateKernels, update)
PYDL_DISPATCH_FROM(baseline, ColumnSums, column_sums)
PYDL_DISPATCH_BF16_FROM(baseline, CorrelationKernels, correlation)
PYDL_DISPATCH_FROM(baseline, CorrelationKernels, depthwise)
PYDL_DISPATCH_FROM(baseline, WinogradKernels, winograd_2x2)
PYDL_DISPATCH_FROM(baseline, WinogradKernels, winograd_4x4)

}  // namespace pydl::kernels
