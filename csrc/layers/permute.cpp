// Permute (SSD): changes the order of the axes.

#include <algorithm>
#include <numeric>

#include "core/check.h"
#include "kernels/eltwise.h"
#include "kernels/movement.h"
#include "layers/strides.h"
#include "pydl/layer.h"

namespace pydl {

struct PermuteParams {
  std::vector<uint32_t> order;

  static auto fields() {
    return Fields("permute_param",
                  Field("order", &PermuteParams::order,
                        "which axis of the bottom each axis of the top is; those that are not "
                        "named follow in their order"));
  }
};

// The bottom is read as it lies in memory. Of a channels-last one, order 0, 2, 3, 1 is a copy.
class Permute final : public LayerOf<PermuteParams> {
 public:
  bool is_view() const override { return is_identity(); }
  bool adds_to_diff() const override { return is_identity(); }
  bool backward_reads_bottom(int) const override { return false; }
  DTypes dtypes() const override { return DTypes::kAny; }

  void SetUp(const Blobs&, const Blobs&) override {
    check(!is_identity() || spec().top[0] != spec().bottom[0], "cannot work in place: give its ",
          "top \"", spec().top[0], "\" a name that differs from its bottom's");
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& shape = bottom[0]->shape();
    order_ = full_order(shape);
    Shape permuted;
    for (const size_t axis : order_) permuted.push_back(shape[axis]);
    top[0]->Reshape(permuted);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    if (is_identity()) return;
    const kernels::Box box = view(*bottom[0], *top[0]);
    kernels::copy_box(box, bottom[0]->data(format_of(*bottom[0])), top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const ConstArray dy = top[0]->diff(format());
    if (is_identity()) {
      const bool add = down[0] == Propagate::kAdd;
      const Array dx = add ? bottom[0]->update_diff(format()) : bottom[0]->mutable_diff(format());
      return kernels::eltwise_kernels().axpby(top[0]->count(), 1, dy, add ? 1 : 0, dx);
    }
    kernels::Box box = view(*bottom[0], *top[0]);
    std::swap(box.x_stride, box.y_stride);
    kernels::copy_box(box, dy, bottom[0]->mutable_diff(format_of(*bottom[0])));
  }

 private:
  bool is_identity() const {
    const auto& order = params_of().order;
    for (size_t i = 0; i < order.size(); ++i) {
      if (order[i] != i) return false;
    }
    return true;
  }

  std::vector<size_t> full_order(const Shape& shape) const {
    std::vector<size_t> order;
    std::vector<bool> taken(shape.size());
    for (const uint32_t axis : params_of().order) {
      check(axis < shape.size(), "order names axis ", axis, ", but its bottom ", shape_text(shape),
            " has the axes 0 to ", shape.size() - 1);
      check(!taken[axis], "order names axis ", axis, " twice");
      taken[axis] = true;
      order.push_back(axis);
    }
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      if (!taken[axis]) order.push_back(axis);
    }
    return order;
  }

  Format format_of(const Blob& bottom) const {
    return {format().device, bottom.layout(), format().dtype};
  }

  // The whole of both, along the axes of the top, which is plain.
  kernels::Box view(const Blob& x, const Blob& y) const {
    const Shape strides = strides_of(x.shape(), x.layout());
    kernels::Box box{y.shape(), {}, strides_of(y.shape(), Layout::kPlain)};
    for (const size_t axis : order_) box.x_stride.push_back(strides[axis]);
    return box;
  }

  std::vector<size_t> order_;  // axis i of the top is axis order_[i] of the bottom
};

PYDL_REGISTER_LAYER("Permute", Permute,
                    "The bottom with its axes in another order. The same order is the same memory "
                    "under another name.");

}  // namespace pydl
