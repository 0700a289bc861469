// Silence: takes blobs that nobody reads, so that they are no outputs of the net.

#include "kernels/eltwise.h"
#include "pydl/layer.h"

namespace pydl {

class Silence final : public LayerOf<> {
 public:
  Arity bottoms() const override { return {1, -1}; }
  Arity tops() const override { return {0, 0}; }
  bool adds_to_diff() const override { return true; }
  bool backward_reads_bottom(int) const override { return false; }

  void Reshape(const Blobs&, const Blobs&) override {}
  void Forward(const Blobs&, const Blobs&) override {}

  void Backward(const Blobs&, const Propagates& down, const Blobs& bottom) override {
    for (size_t i = 0; i < bottom.size(); ++i) {
      if (down[i] != Propagate::kWrite) continue;
      kernels::eltwise_kernels().fill(bottom[i]->count(), 0,
                                      bottom[i]->mutable_diff(bottom[i]->layout()));
    }
  }
};

PYDL_REGISTER_LAYER("Silence", Silence,
                    "Takes blobs that nobody reads, so that they are no outputs.");

}  // namespace pydl
