// PositionalEmbedding: adds a vector to each step of a sequence, so that its place can be seen.

#include <cmath>

#include "kernels/column_sums.h"
#include "kernels/eltwise.h"
#include "layers/first_step.h"
#include "pydl/filler.h"

namespace pydl {

enum class PositionalEmbeddingType { kLearned = 0, kSinusoidal = 1 };
constexpr std::array<EnumName, 2> enum_names(PositionalEmbeddingType) {
  return {{{"LEARNED", 0}, {"SINUSOIDAL", 1}}};
}

struct PositionalEmbeddingParams {
  PositionalEmbeddingType type = PositionalEmbeddingType::kLearned;
  int32_t max_length = 0;
  FillerParams weight_filler;

  static auto fields() {
    using P = PositionalEmbeddingParams;
    return Fields("positional_embedding_param",
                  Field("type", &P::type,
                        "LEARNED vectors, or SINUSOIDAL: sines and cosines of falling frequency"),
                  Field("max_length", &P::max_length,
                        "most steps of a sequence; required for LEARNED, else 0 is no limit"),
                  Field("weight_filler", &P::weight_filler, "start values of the vectors"));
  }
};

// bottoms: x (N, T, C); perhaps the place of the first step, one value
// top:     (N, T, C)   param, if learned: (max_length, C)
//
// Sinusoidal (Vaswani et al. 2017, arXiv:1706.03762): sin(t / 10000^(2 i / C)) in channel 2 i, the
// cosine in channel 2 i + 1.
class PositionalEmbedding final : public LayerOf<PositionalEmbeddingParams> {
 public:
  Arity bottoms() const override { return {1, 2}; }
  bool in_place() const override { return true; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool backward_reads_bottom(int bottom) const override { return bottom == 1; }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    const auto& p = params_of();
    places_.emplace("positional_embedding_param.max_length", p.max_length);
    check(!learned() || p.max_length > 0,
          "max_length, the most steps of a sequence, must be given for learned vectors");
    channels_ = Checked(*bottom[0]);
    if (learned()) AddParam({p.max_length, channels_}, &p.weight_filler);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    check(Checked(*bottom[0]) == channels_, "was set up for ", channels_,
          " channels, but its bottom is now ", shape_text(bottom[0]->shape()));
    batch_ = bottom[0]->shape(0), steps_ = bottom[0]->shape(1);
    places_->Reshape(bottom, steps_);
    if (top[0] != bottom[0]) top[0]->ReshapeLike(*bottom[0]);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const int64_t first = places_->First(bottom);
    const float* table = Table(first + steps_) + first * channels_;
    const float* x = bottom[0]->data();
    kernels::eltwise_kernels().affine_forward(batch_, steps_ * channels_, 1, x, nullptr, table,
                                              top[0]->mutable_data());
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const float* dy = top[0]->diff();
    if (learned() && param_propagate(0)) {
      kernels::column_sums_kernels().add(
          batch_, steps_ * channels_, dy,
          params()[0]->update_diff() + places_->First(bottom) * channels_);
    }
    if (down[0] == Propagate::kNo || top[0] == bottom[0]) return;
    kernels::eltwise_kernels().scale(top[0]->count(), 1, dy, bottom[0]->mutable_diff());
  }

 private:
  bool learned() const { return params_of().type == PositionalEmbeddingType::kLearned; }

  static int64_t Checked(const Blob& x) {
    check(x.axes() == 3, "its bottom must be sequences x steps x channels, but is ",
          shape_text(x.shape()));
    return x.shape(2);
  }

  // (at least `length`, C)
  const float* Table(int64_t length) {
    if (learned()) return params()[0]->data();
    const auto wanted = static_cast<size_t>(length * channels_);
    for (size_t i = table_.size(); i < wanted; ++i) {
      const auto step = static_cast<int64_t>(i) / channels_;
      const auto channel = static_cast<int64_t>(i) % channels_;
      const double pair = static_cast<double>(channel / 2 * 2) / static_cast<double>(channels_);
      const double angle = static_cast<double>(step) * std::pow(10000.0, -pair);
      table_.push_back(static_cast<float>(channel % 2 ? std::cos(angle) : std::sin(angle)));
    }
    return table_.data();
  }

  std::optional<Places> places_;
  int64_t channels_ = 0, batch_ = 0, steps_ = 0;  // C, N, T
  std::vector<float> table_;                      // sinusoidal: (steps so far, C)
};

PYDL_REGISTER_LAYER(
    "PositionalEmbedding", PositionalEmbedding,
    "Adds to each step of sequences x steps x channels a vector that stands for its place, learned "
    "or of sines and cosines. A second bottom of one value is the place of the first step, where a "
    "sequence comes in parts. Its blob is an embedding, max_length x channels.");

}  // namespace pydl
