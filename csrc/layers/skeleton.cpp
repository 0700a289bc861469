// Skeleton: y = factor * x. The layer to copy.
//
// To add a layer, copy this file to csrc/layers/<name>.cpp and tests/test_skeleton_layer.py to
// tests/test_<name>_layer.py, and rename. Nothing else has to be touched: the build takes every
// file of this folder, the prototxt checks and docs/layers.md know the fields from fields(), and
// the test compares forward with numpy and backward with numerical gradients.
//
// Start a layer with what it computes, and the paper it comes from.

#include "core/check.h"
#include "kernels/eltwise.h"
#include "pydl/layer.h"

namespace pydl {

// What a prototxt may say: skeleton_param { factor: 3 }. The members' values here are the defaults;
// a std::optional member is for a field whose absence means something.
struct SkeletonParams {
  float factor = 2;

  static auto fields() {
    return Fields("skeleton_param",
                  Field("factor", &SkeletonParams::factor, "what each element is multiplied by"));
  }
};

// A NeuronLayer maps each element of one bottom to one of one top; its top gets the bottom's shape,
// it may work in place, and it takes any layout. Other layers derive from LayerOf<Params> and
// define Reshape, and whichever of bottoms(), tops(), layouts(), ... in pydl/layer.h differ for
// them.
class Skeleton final : public NeuronLayer<SkeletonParams> {
 public:
  bool backward_reads_bottom(int) const override { return false; }

  // Once, before the first Reshape: check the parameters and add learnable blobs (AddParam). The
  // net puts file, line and layer in front of the message: give the values and the way out.
  void SetUp(const Blobs&, const Blobs&) override {
    check(params_of().factor != 0,
          "factor must not be 0: the output would not depend on the input");
  }

  // A layer that only knows the order of its elements asks for them in layout(), which the net
  // chose among layouts(). In place, bottom[0] is top[0]: fetch what is read before what is
  // written.
  void Forward(const Blobs& bottom, const Blobs& top) override {
    const float* x = bottom[0]->data(layout());
    kernels::eltwise_kernels().scale(bottom[0]->count(), params_of().factor, x,
                                     top[0]->mutable_data(layout()));
  }

  // dx = factor * dy. Where a bottom's gradient is not wanted its diff is left alone. Gradients of
  // learnable blobs are added to what is there. This one reads neither bottom nor top: it says so
  // with backward_reads_bottom(); one that reads its top's data, with backward_reads_top().
  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const float* dy = top[0]->diff(layout());
    kernels::eltwise_kernels().scale(bottom[0]->count(), params_of().factor, dy,
                                     bottom[0]->mutable_diff(layout()));
  }
};

// The type as a prototxt names it, and a sentence for docs/layers.md.
PYDL_REGISTER_LAYER("Skeleton", Skeleton,
                    "Multiplies each element by a factor: the layer to copy when writing one.");

}  // namespace pydl
