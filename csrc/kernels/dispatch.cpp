#include "kernels/dispatch.h"

#include "kernels/activation.h"
#include "kernels/additive_scores.h"
#include "kernels/arg_max.h"
#include "kernels/attention.h"
#include "kernels/boxes.h"
#include "kernels/col2im.h"
#include "kernels/column_sums.h"
#include "kernels/correlation.h"
#include "kernels/cost_volume.h"
#include "kernels/eltwise.h"
#include "kernels/embed.h"
#include "kernels/gemm.h"
#include "kernels/group_norm.h"
#include "kernels/image.h"
#include "kernels/interp.h"
#include "kernels/l2_norm.h"
#include "kernels/loss.h"
#include "kernels/lrn.h"
#include "kernels/negative_sampling.h"
#include "kernels/norm.h"
#include "kernels/pool.h"
#include "kernels/recurrent.h"
#include "kernels/reduce.h"
#include "kernels/roi.h"
#include "kernels/rotary.h"
#include "kernels/row_norm.h"
#include "kernels/softmax.h"
#include "kernels/stochastic.h"
#include "kernels/update.h"
#include "kernels/winograd.h"

namespace pydl::kernels {

PYDL_DISPATCH(ActivationKernels, activation, ref, avx512_bf16)
PYDL_DISPATCH(AdditiveScoreKernels, additive_score, ref, avx512)
PYDL_DISPATCH(ArgMaxKernels, arg_max, ref, avx512)
PYDL_DISPATCH(AttentionKernels, attention, ref, avx512)
PYDL_DISPATCH(BoxKernels, box, ref, avx512)
PYDL_DISPATCH(CostVolumeKernels, cost_volume, ref, avx512)
PYDL_DISPATCH(EltwiseKernels, eltwise, ref, avx512)
PYDL_DISPATCH(EmbedKernels, embed, ref, avx512)
PYDL_DISPATCH(GemmKernels, gemm, ref, amx)
PYDL_DISPATCH(GroupNormKernels, group_norm, ref, avx512)
PYDL_DISPATCH(ImageKernels, image, ref, avx512)
PYDL_DISPATCH(InterpKernels, interp, ref, avx512)
PYDL_DISPATCH(L2NormKernels, l2_norm, ref, avx512)
PYDL_DISPATCH(LossKernels, loss, ref, avx512)
PYDL_DISPATCH(LrnKernels, lrn, ref, avx512_bf16)
PYDL_DISPATCH(NegativeSamplingKernels, negative_sampling, ref, avx512)
PYDL_DISPATCH(NormKernels, norm, ref, avx512_bf16)
PYDL_DISPATCH(PoolKernels, pool, ref, avx512)
PYDL_DISPATCH(RecurrentKernels, recurrent, ref, amx)
PYDL_DISPATCH(ReduceKernels, reduce, ref, avx512)
PYDL_DISPATCH(RoiKernels, roi, ref, avx512)
PYDL_DISPATCH(RotaryKernels, rotary, ref, avx512)
PYDL_DISPATCH(RowNormKernels, row_norm, ref, avx512)
PYDL_DISPATCH(SoftmaxKernels, softmax, ref, avx512)
PYDL_DISPATCH(StochasticKernels, stochastic, ref, avx512)
PYDL_DISPATCH(UpdateKernels, update, ref, avx512)
PYDL_DISPATCH(Col2imKernels, col2im, baseline, amx)
PYDL_DISPATCH(ColumnSums, column_sums, baseline, avx512)
PYDL_DISPATCH(CorrelationKernels, correlation, baseline, amx)
PYDL_DISPATCH(CorrelationKernels, depthwise, baseline, avx512)
PYDL_DISPATCH(WinogradKernels, winograd_2x2, baseline, avx512)
PYDL_DISPATCH(WinogradKernels, winograd_4x4, baseline, avx512)
PYDL_DISPATCH(WinogradKernels, winograd_2x2_5x5, baseline, avx512)

}  // namespace pydl::kernels
