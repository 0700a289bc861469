// DummyData: blobs of given shapes, filled with constants once or with random numbers each time.

#include "core/check.h"
#include "core/random.h"
#include "layers/shapes.h"
#include "pydl/filler.h"
#include "pydl/layer.h"

namespace pydl {

struct DummyDataParams {
  std::vector<FillerParams> data_filler;
  std::vector<BlobShape> shape;
  std::vector<uint32_t> num, channels, height, width;

  static auto fields() {
    using P = DummyDataParams;
    return Fields(
        "dummy_data_param",
        Field("data_filler", &P::data_filler, "one for each top, or one for all; zeros if absent"),
        Field("shape", &P::shape, "one for each top, or one for all"),
        Field("num", &P::num, "old form of shape: the first of four sizes"),
        Field("channels", &P::channels, "old form of shape: the second"),
        Field("height", &P::height, "old form of shape: the third"),
        Field("width", &P::width, "old form of shape: the fourth"));
  }
};

class DummyData final : public LayerOf<DummyDataParams> {
 public:
  Arity bottoms() const override { return {0, 0}; }
  Arity tops() const override { return {1, -1}; }
  std::vector<int64_t*> state() override { return {&draws_}; }

  void SetUp(const Blobs&, const Blobs& top) override {
    const DummyDataParams& p = params_of();
    CheckCount("data_filler", p.data_filler.size(), top.size(), true);
    const bool old = !(p.num.empty() && p.channels.empty() && p.height.empty() && p.width.empty());
    check(!old || p.shape.empty(),
          "give either shape or num, channels, height and width (its old form), not both");
    if (old) {
      CheckCount("num", p.num.size(), top.size(), false);
      CheckCount("channels", p.channels.size(), top.size(), false);
      CheckCount("height", p.height.size(), top.size(), false);
      CheckCount("width", p.width.size(), top.size(), false);
    } else {
      CheckCount("shape", p.shape.size(), top.size(), false);
    }
    for (size_t i = 0; i < top.size(); ++i) {
      top[i]->Reshape(old ? Shape{Of(p.num, i), Of(p.channels, i), Of(p.height, i), Of(p.width, i)}
                          : Of(p.shape, i).dim);
      FillTop(i, top[i]);  // so that a bad filler is noticed now
    }
  }

  void Reshape(const Blobs&, const Blobs&) override {}

  // Constants stay: once a user holds the array, what is written there is what the net reads, as in
  // Caffe. Nobody holds it otherwise, and the memory may have been used for another blob meanwhile.
  void Forward(const Blobs&, const Blobs& top) override {
    ++draws_;
    for (size_t i = 0; i < top.size(); ++i) {
      if (Filler(i).type != "constant" || !top[i]->data_tensor().exposed()) FillTop(i, top[i]);
    }
  }

 private:
  static void CheckCount(const char* field, size_t count, size_t tops, bool may_be_absent) {
    check(count == 1 || count == tops || (may_be_absent && count == 0), field, " is given ", count,
          " time(s) for ", tops, " top(s); give it once or once per top");
  }
  template <class T>
  static const T& Of(const std::vector<T>& given, size_t i) {
    return given[given.size() == 1 ? 0 : i];
  }
  FillerParams Filler(size_t i) const {
    return params_of().data_filler.empty() ? FillerParams() : Of(params_of().data_filler, i);
  }
  void FillTop(size_t i, Blob* top) const {
    const uint64_t draw = static_cast<uint64_t>(draws_) * spec_.top.size() + i;
    Fill(Filler(i), context().seed, stream_of(name()) + draw, top);
  }

  int64_t draws_ = 0;  // forward passes
};

PYDL_REGISTER_LAYER("DummyData", DummyData,
                    "Blobs of given shapes, filled with constants once or with random numbers at "
                    "each forward pass.");

}  // namespace pydl
