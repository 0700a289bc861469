// Parameter: a learnable blob as a top.
//
// In Caffe the top is the learnable blob itself: what a reader writes to its gradient replaces that
// of the passes before (iter_size), and a layer in place changes the weights. Here it is a copy,
// whose gradient is added.

#include "kernels/eltwise.h"
#include "layers/shapes.h"
#include "pydl/layer.h"

namespace pydl {

struct ParameterParams {
  BlobShape shape;

  static auto fields() {
    return Fields("parameter_param", Field("shape", &ParameterParams::shape,
                                           "sizes of the blob, which starts as zeros"));
  }
};

class Parameter final : public LayerOf<ParameterParams> {
 public:
  Arity bottoms() const override { return {0, 0}; }

  void SetUp(const Blobs&, const Blobs&) override { AddParam(params_of().shape.dim); }
  void Reshape(const Blobs&, const Blobs& top) override { top[0]->ReshapeLike(*params()[0]); }

  void Forward(const Blobs&, const Blobs& top) override {
    const Blob& value = *params()[0];
    kernels::eltwise_kernels().convert(value.count(), value.data(), top[0]->mutable_data());
  }

  void Backward(const Blobs& top, const Propagates&, const Blobs&) override {
    if (!param_propagate(0)) return;
    const Blob::Sum sum = params()[0]->accumulate_diff();
    kernels::eltwise_kernels().axpby(top[0]->count(), 1, top[0]->diff(), sum.add ? 1 : 0, sum.data);
  }
};

PYDL_REGISTER_LAYER("Parameter", Parameter, "A learnable blob of a given shape, as a top.");

}  // namespace pydl
