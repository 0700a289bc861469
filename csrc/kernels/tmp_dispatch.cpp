// Temporary: reference kernels until cpu/ has them (weak, so real definitions win).
#include "kernels/activation.h"
#include "kernels/eltwise.h"
#include "kernels/lrn.h"
#include "kernels/norm.h"
#include "kernels/pool.h"
#include "kernels/softmax.h"
#include "kernels/update.h"
namespace pydl::kernels {
#define T(K, f) namespace ref { extern const K f; } __attribute__((weak)) const K& f##_kernels() { return ref::f; }
T(ActivationKernels, activation)
T(EltwiseKernels, eltwise)
T(LrnKernels, lrn)
T(NormKernels, norm)
T(PoolKernels, pool)
T(SoftmaxKernels, softmax)
T(UpdateKernels, update)
}
