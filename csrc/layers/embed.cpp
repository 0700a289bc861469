// Embed: a learned vector for each integer, such as the number of a word.

#include "kernels/embed.h"

#include "core/check.h"
#include "kernels/column_sums.h"
#include "layers/labels.h"
#include "pydl/filler.h"
#include "pydl/layer.h"

namespace pydl {

struct EmbedParams {
  int32_t num_output = 0, input_dim = 0;
  bool bias_term = true;
  FillerParams weight_filler, bias_filler;

  static auto fields() {
    using P = EmbedParams;
    return Fields("embed_param", Field("num_output", &P::num_output, "size of a vector; required"),
                  Field("input_dim", &P::input_dim,
                        "number of vectors: inputs are 0 to input_dim - 1; required"),
                  Field("bias_term", &P::bias_term, "add a learned bias"),
                  Field("weight_filler", &P::weight_filler, "start values of the vectors"),
                  Field("bias_filler", &P::bias_filler, "start values of the bias"));
  }
};

// bottom: indices (...)   W: (input_dim, num_output)   b: (num_output)   top: (..., num_output)
class Embed final : public LayerOf<EmbedParams> {
 public:
  DTypes dtypes() const override { return DTypes::kTops; }  // bfloat16 cannot tell 257 from 256
  bool can_propagate(int) const override { return false; }

  void SetUp(const Blobs&, const Blobs&) override {
    const auto& p = params_of();
    check(p.num_output > 0, "embed_param.num_output must be given and positive, not ",
          p.num_output);
    check(p.input_dim > 0, "embed_param.input_dim must be given and positive, not ", p.input_dim);
    AddParam({p.input_dim, p.num_output}, &p.weight_filler);
    if (p.bias_term) AddParam({p.num_output}, &p.bias_filler);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    Shape shape = bottom[0]->shape();
    shape.push_back(params_of().num_output);
    top[0]->Reshape(shape);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const auto& p = params_of();
    CheckIndices(*bottom[0]);
    kernels::embed_kernels().gather(
        bottom[0]->count(), p.input_dim, p.num_output, bottom[0]->data(), params()[0]->data(),
        p.bias_term ? params()[1]->data() : nullptr, top[0]->mutable_data(format_for(*top[0])));
  }

  void Backward(const Blobs& top, const Propagates&, const Blobs& bottom) override {
    const auto& p = params_of();
    const int64_t count = bottom[0]->count();
    const ConstArray dy = top[0]->diff(format_for(*top[0]));
    if (param_propagate(0)) {
      CheckIndices(*bottom[0]);  // again: they may have been changed in between
      kernels::embed_kernels().scatter_add(count, p.input_dim, p.num_output, bottom[0]->data(), dy,
                                           params()[0]->update_diff());
    }
    if (p.bias_term && param_propagate(1)) {
      kernels::column_sums_kernels().add(count, p.num_output, dy, params()[1]->update_diff());
    }
  }

 private:
  void CheckIndices(const Blob& indices) const {
    const int32_t limit = params_of().input_dim;
    check_indices(indices, limit, "; embed_param.input_dim is " + std::to_string(limit));
  }
};

PYDL_REGISTER_LAYER("Embed", Embed, "A learned vector for each integer input, as a new last axis.");

}  // namespace pydl
