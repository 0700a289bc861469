#include "kernels/packed.h"

#include <new>
#include <utility>

#include "core/check.h"

namespace pydl::kernels {
namespace {

constexpr std::align_val_t kAlign{64};

const char* name_of(DType dtype) { return dtype == DType::kFloat32 ? "float32" : "bfloat16"; }

}  // namespace

void PackedMatrixDeleter::operator()(PackedMatrix* p) const {
  ::operator delete[](p->data, kAlign);
  delete p;
}

PackedMatrixPtr make_packed(int64_t k, int64_t n, int64_t panel, DType dtype, int64_t floats,
                            PackedMatrixPtr reuse) {
  PackedMatrixPtr packed = std::move(reuse);
  if (!packed || packed->capacity < floats) {
    packed.reset();
    packed.reset(new PackedMatrix{});
    void* memory = ::operator new[](static_cast<size_t>(floats) * sizeof(float), kAlign);
    packed->data = static_cast<float*>(memory);
    packed->capacity = floats;
  }
  packed->k = k;
  packed->n = n;
  packed->panel = panel;
  packed->dtype = dtype;
  return packed;
}

void check_packed(const PackedMatrix& b, int64_t k, int64_t n, int64_t panel, DType dtype) {
  check(b.k == k && b.n == n && b.panel == panel, "gemm_packed: the matrix was packed as ", b.k,
        "x", b.n, " in panels of ", b.panel, ", but this product needs ", k, "x", n,
        " in panels of ", panel, "; pack it again (pack_b) after a change of shape or of PYDL_ISA");
  check(b.dtype == dtype, "gemm_packed: the matrix was packed for an A of ", name_of(b.dtype),
        ", but A is ", name_of(dtype), "; give pack_b the type of A");
}

}  // namespace pydl::kernels
