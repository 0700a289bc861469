// Weights in the order in which kernels read them, remade when the weights change.
//
// Training changes the weights after every use, inference never does. So the first use after a
// change gets memory that all such weights share, and only a second one has a copy of its own.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/gemm.h"
#include "kernels/scratch.h"

namespace pydl::kernels {

class KeptWeights {
 public:
  void weights_changed() { used_ = fresh_ = false; }

  // run(memory), 64-byte aligned; make(memory) fills its `floats` floats, for products of `dtype`,
  // where it has to.
  template <class Make, class Run>
  void use(int64_t floats, DType dtype, const Make& make, const Run& run) {
    if (dtype != dtype_) weights_changed();
    dtype_ = dtype;
    if (!used_) {
      used_ = true;
      const Scratch once(floats);
      make(once.data());
      return run(once.data());
    }
    memory_.resize(static_cast<size_t>(floats) + 15);
    const auto misaligned = reinterpret_cast<uintptr_t>(memory_.data()) / sizeof(float) % 16;
    float* kept = memory_.data() + (16 - misaligned) % 16;
    if (!fresh_) make(kept);
    fresh_ = true;
    run(kept);
  }

 private:
  std::vector<float> memory_;
  DType dtype_ = DType::kFloat32;
  bool used_ = false, fresh_ = false;
};

// The same for the B of a product (gemm.h), packed for an A of type `a`.
class KeptMatrix {
 public:
  void weights_changed() { used_ = fresh_ = false; }

  // run(packed)
  template <class Run>
  void use(const GemmKernels& kernels, const GemmShape& shape, ConstArray b, DType a,
           const Run& run) {
    if (a != a_) weights_changed();
    a_ = a;
    PackedMatrixPtr& packed = used_ ? own_ : shared();
    if (!fresh_) packed = kernels.pack_b(shape, b, std::move(packed), a);
    fresh_ = used_;
    used_ = true;
    run(*packed);
  }

 private:
  static PackedMatrixPtr& shared() {
    thread_local PackedMatrixPtr matrix;
    return matrix;
  }

  PackedMatrixPtr own_;
  DType a_ = DType::kFloat32;
  bool used_ = false, fresh_ = false;
};

}  // namespace pydl::kernels
