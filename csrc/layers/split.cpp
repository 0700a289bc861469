// Split: several tops that are all the bottom. Nets need none: a blob may have any number of
// readers.

#include "layers/view_layer.h"

namespace pydl {

class Split final : public ViewLayer<> {
 public:
  Arity tops() const override { return {1, -1}; }
  Layouts layouts() const override { return Layouts::kAny; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    for (Blob* y : top) y->ReshapeLike(*bottom[0]);
  }
};

PYDL_REGISTER_LAYER("Split", Split,
                    "Several tops with the bottom's values; their gradients are summed. For files "
                    "that have it: any blob may be read by several layers without.");

}  // namespace pydl
