// Filter: the items for which a selector is not 0.

#include "core/check.h"
#include "layers/picked_items.h"

namespace pydl {

// bottoms: blobs (N, ...) and the selector (N) or (N, 1, ...)
// tops: a blob (selected, ...) for each but the selector; its size is known in Forward only, and
// after a Reshape it is the largest possible
class Filter final : public LayerOf<> {
 public:
  Arity bottoms() const override { return {2, -1}; }
  Arity tops() const override { return {1, -1}; }
  bool can_propagate(int bottom) const override { return bottom < Items(); }
  bool backward_reads_bottom(int) const override { return false; }
  bool adds_to_diff() const override { return true; }
  DTypes dtypes() const override { return DTypes::kTops; }

  void SetUp(const Blobs& bottom, const Blobs& top) override {
    check(top.size() + 1 == bottom.size(),
          "needs a top for each bottom but the last, which selects: ", bottom.size() - 1, ", not ",
          top.size());
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& selector = *bottom.back();
    check(selector.axes() >= 1 && selector.count(1) == 1,
          "the last bottom, which selects, must have one value for each item, but is ",
          shape_text(selector.shape()));
    // An item's number is handed on as a float.
    check(selector.shape(0) <= kMostItems, "selects among at most ", kMostItems, " items, not ",
          selector.shape(0));
    for (size_t i = 0; i < top.size(); ++i) {
      check(bottom[i]->axes() >= 1 && bottom[i]->shape(0) == selector.shape(0), "bottom \"",
            spec_.bottom[i], "\" must have as many items along axis 0 as the last bottom, ",
            selector.shape(0), ", but is ", shape_text(bottom[i]->shape()));
      top[i]->ReshapeLike(*bottom[i]);
    }
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const float* selector = bottom.back()->data();
    selected_.clear();
    for (int64_t i = 0; i < bottom.back()->count(); ++i) {
      if (selector[i] != 0) selected_.push_back(static_cast<float>(i));
    }
    for (size_t i = 0; i < top.size(); ++i) {
      Shape shape = bottom[i]->shape();
      shape[0] = static_cast<int64_t>(selected_.size());
      top[i]->Reshape(shape);
      pick_items(*bottom[i], shape[0], selected_.data(), top[i]->mutable_data(format_for(*top[i])));
    }
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const auto count = static_cast<int64_t>(selected_.size());
    for (size_t i = 0; i < top.size(); ++i) {
      check(top[i]->shape(0) == count, "its top was reshaped after the last forward pass");
      unpick_items(bottom[i], count, selected_.data(), top[i]->diff(format_for(*top[i])), down[i]);
    }
  }

 private:
  static constexpr int64_t kMostItems = 1 << 24;

  int Items() const { return static_cast<int>(spec().bottom.size()) - 1; }

  std::vector<float> selected_;  // their numbers
};

PYDL_REGISTER_LAYER("Filter", Filter,
                    "The items of each bottom for which the last bottom is not 0. The tops change "
                    "their size from pass to pass.");

}  // namespace pydl
