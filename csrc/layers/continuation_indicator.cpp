// ContinuationIndicator: where the sequences of a recurrent layer go on: 0 at the first step, then
// ones.

#include <algorithm>

#include "core/check.h"
#include "pydl/layer.h"

namespace pydl {

struct ContinuationIndicatorParams {
  uint32_t time_step = 0, batch_size = 0;

  static auto fields() {
    using P = ContinuationIndicatorParams;
    return Fields("continuation_indicator_param",
                  Field("time_step", &P::time_step, "number of steps; required"),
                  Field("batch_size", &P::batch_size,
                        "number of sequences; without a bottom, whose axis 0 is it"));
  }
};

// bottom: none, or (N, ...)   top: (T, N)
class ContinuationIndicator final : public LayerOf<ContinuationIndicatorParams> {
 public:
  Arity bottoms() const override { return {0, 1}; }
  bool can_propagate(int) const override { return false; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const auto& p = params_of();
    check(p.time_step > 0, "continuation_indicator_param.time_step must be given and positive");
    check(!bottom.empty() || p.batch_size > 0,
          "continuation_indicator_param.batch_size must be given where there is no bottom");
    top[0]->Reshape({p.time_step, bottom.empty() ? p.batch_size : bottom[0]->shape(0)});
  }

  void Forward(const Blobs&, const Blobs& top) override {
    float* y = top[0]->mutable_data();
    std::fill_n(y, top[0]->count(), 1.0f);
    std::fill_n(y, top[0]->shape(1), 0.0f);
  }
};

PYDL_REGISTER_LAYER("ContinuationIndicator", ContinuationIndicator,
                    "The second bottom of a recurrent layer, steps x sequences: 0 at the first "
                    "step, where each sequence begins, and then 1.");

}  // namespace pydl
