// BatchReindex: items of a blob chosen by their numbers, in any order and any number of times.

#include "core/check.h"
#include "layers/labels.h"
#include "layers/picked_items.h"

namespace pydl {

// bottoms: items (N, ...), numbers (M)   top: (M, ...)
class BatchReindex final : public LayerOf<> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool backward_reads_bottom(int bottom) const override { return bottom == 1; }
  bool adds_to_diff() const override { return true; }
  DTypes dtypes() const override { return DTypes::kTops; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    check(bottom[0]->axes() >= 1, "the first bottom must have items along axis 0, but is a scalar");
    check(bottom[1]->axes() == 1, "the second bottom, the numbers of items, must have one axis, ",
          "but is ", shape_text(bottom[1]->shape()));
    Shape shape = bottom[0]->shape();
    shape[0] = bottom[1]->shape(0);
    top[0]->Reshape(shape);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    CheckNumbers(bottom);
    pick_items(*bottom[0], bottom[1]->count(), bottom[1]->data(),
               top[0]->mutable_data(format_for(*top[0])));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    CheckNumbers(bottom);  // again: they may have been changed in between
    unpick_items(bottom[0], bottom[1]->count(), bottom[1]->data(),
                 top[0]->diff(format_for(*top[0])), down[0]);
  }

 private:
  static void CheckNumbers(const Blobs& bottom) {
    const int64_t items = bottom[0]->shape(0);
    check_indices(*bottom[1], items, "; the first bottom has " + std::to_string(items) + " items");
  }
};

PYDL_REGISTER_LAYER("BatchReindex", BatchReindex,
                    "Items of the first bottom in the order that the second names; gradients of an "
                    "item that is there several times are summed.");

}  // namespace pydl
