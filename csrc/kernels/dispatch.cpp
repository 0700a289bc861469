#include "kernels/dispatch.h"

#include "kernels/activation.h"
#include "kernels/arg_max.h"
#include "kernels/col2im.h"
#include "kernels/column_sums.h"
#include "kernels/correlation.h"
#include "kernels/eltwise.h"
#include "kernels/embed.h"
#include "kernels/gemm.h"
#include "kernels/image.h"
#include "kernels/loss.h"
#include "kernels/lrn.h"
#include "kernels/norm.h"
#include "kernels/pool.h"
#include "kernels/recurrent.h"
#include "kernels/reduce.h"
#include "kernels/softmax.h"
#include "kernels/update.h"
#include "kernels/winograd.h"

namespace pydl::kernels {

PYDL_DISPATCH(ActivationKernels, activation, ref, avx512)
PYDL_DISPATCH(ArgMaxKernels, arg_max, ref, avx512)
PYDL_DISPATCH(EltwiseKernels, eltwise, ref, avx512)
PYDL_DISPATCH(EmbedKernels, embed, ref, avx512)
PYDL_DISPATCH(GemmKernels, gemm, ref, amx)
PYDL_DISPATCH(ImageKernels, image, ref, avx512)
PYDL_DISPATCH(LossKernels, loss, ref, avx512)
PYDL_DISPATCH(LrnKernels, lrn, ref, avx512_bf16)
PYDL_DISPATCH(NormKernels, norm, ref, avx512_bf16)
PYDL_DISPATCH(PoolKernels, pool, ref, avx512)
PYDL_DISPATCH(RecurrentKernels, recurrent, ref, amx)
PYDL_DISPATCH(ReduceKernels, reduce, ref, avx512)
PYDL_DISPATCH(SoftmaxKernels, softmax, ref, avx512)
PYDL_DISPATCH(UpdateKernels, update, ref, avx512)
PYDL_DISPATCH(Col2imKernels, col2im, baseline, amx)
PYDL_DISPATCH(ColumnSums, column_sums, baseline, avx512)
PYDL_DISPATCH(CorrelationKernels, correlation, baseline, amx)
PYDL_DISPATCH(CorrelationKernels, depthwise, baseline, avx512)
PYDL_DISPATCH(WinogradKernels, winograd_2x2, baseline, avx512)
PYDL_DISPATCH(WinogradKernels, winograd_4x4, baseline, avx512)
PYDL_DISPATCH(WinogradKernels, winograd_2x2_5x5, baseline, avx512)

}  // namespace pydl::kernels
