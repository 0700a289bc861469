// Input: blobs that the user fills before a forward pass.

#include "core/check.h"
#include "layers/shapes.h"
#include "pydl/layer.h"

namespace pydl {

struct InputParams {
  std::vector<BlobShape> shape;

  static auto fields() {
    return Fields("input_param",
                  Field("shape", &InputParams::shape, "one for each top, or one for all"));
  }
};

class Input final : public LayerOf<InputParams> {
 public:
  Arity bottoms() const override { return {0, 0}; }
  Arity tops() const override { return {1, -1}; }
  bool has_inputs() const override { return true; }

  void SetUp(const Blobs&, const Blobs& top) override {
    const auto& shapes = params_of().shape;
    check(shapes.empty() || shapes.size() == 1 || shapes.size() == top.size(), "input_param has ",
          shapes.size(), " shapes for ", top.size(), " tops");
    if (shapes.empty()) return;
    for (size_t i = 0; i < top.size(); ++i) {
      top[i]->Reshape(shapes[shapes.size() == 1 ? 0 : i].dim);
    }
  }
  // The user reshapes the tops.
  void Reshape(const Blobs&, const Blobs&) override {}
  void Forward(const Blobs&, const Blobs&) override {}
};

PYDL_REGISTER_LAYER("Input", Input, "Blobs of given shapes, filled by the user.");

}  // namespace pydl
