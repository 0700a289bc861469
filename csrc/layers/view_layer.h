// Base of the layers whose tops are their bottom under other names or shapes.
#pragma once

#include <algorithm>

#include "core/check.h"
#include "kernels/eltwise.h"
#include "pydl/layer.h"

namespace pydl {

// The net lets the tops share the bottom's data, and a single top of a single reader its diff.
template <class... P>
class ViewLayer : public LayerOf<P...> {
 public:
  bool is_view() const override { return true; }
  bool adds_to_diff() const override { return true; }
  bool backward_reads_bottom(int) const override { return false; }
  DTypes dtypes() const override { return DTypes::kAny; }

  void SetUp(const Blobs&, const Blobs&) override {
    const LayerSpec& spec = this->spec();
    for (const std::string& top : spec.top) {
      check(top != spec.bottom[0], "cannot work in place: give its top \"", top,
            "\" a name that differs from its bottom's");
    }
  }

  void Forward(const Blobs&, const Blobs&) override {}

  // dx = (or +=) the sum of the tops' diffs.
  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    bool add = down[0] == Propagate::kAdd;
    const int64_t n = bottom[0]->count();
    const Format format = this->format();
    const Array dx = add ? bottom[0]->update_diff(format) : bottom[0]->mutable_diff(format);
    for (const Blob* y : top) {
      kernels::eltwise_kernels().axpby(n, 1, y->diff(format), add ? 1 : 0, dx);
      add = true;
    }
  }
};

}  // namespace pydl
