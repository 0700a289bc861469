// CtcLoss, WarpCTCLoss: connectionist temporal classification of scores, for sequences whose labels
// are not aligned with their steps (Graves et al. 2006).

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "kernels/ctc.h"
#include "kernels/eltwise.h"
#include "kernels/softmax.h"
#include "layers/labels.h"
#include "layers/loss_params.h"
#include "pydl/layer.h"

namespace pydl {

struct CtcLossParams {
  uint32_t alphabet_size = 0, time_step = 0;
  int32_t blank_label = 0;

  static auto fields() {
    using P = CtcLossParams;
    return Fields("ctc_loss_param",
                  Field("alphabet_size", &P::alphabet_size,
                        "number of classes, the blank among them; 0: as the bottom has"),
                  Field("time_step", &P::time_step, "number of steps; 0: as the bottom has"),
                  Field("blank_label", &P::blank_label, "the class that stands for no label"));
  }
};

// bottom: scores (T, N, C), before the softmax
// top: the mean cost over the batch, a scalar. As in the forks labels that do not fit into T steps
// cost nothing. (The forks' gradient is that of the sum; this one is the mean's.)
class CtcLossBase : public LayerOf<CtcLossParams> {
 public:
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool is_loss() const override { return true; }
  bool backward_reads_bottom(int) const override { return false; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    check(x.axes() >= 3 && x.count(3) == 1,
          "needs scores of steps x sequences x classes, got a bottom of shape ",
          shape_text(x.shape()));
    shape_ = {x.shape(0), x.shape(1), x.shape(2), params_of().blank_label};
    CheckGiven("alphabet_size", params_of().alphabet_size, "classes", shape_.classes);
    CheckGiven("time_step", params_of().time_step, "steps", shape_.steps);
    check(shape_.blank >= 0 && shape_.blank < shape_.classes, "blank_label ", shape_.blank,
          " is not in 0 to ", shape_.classes - 1, ", the classes of its bottom ",
          shape_text(x.shape()));
    CheckLabels(bottom);
    gradient_.ReshapeLike(x);
    top[0]->Reshape({});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    std::vector<kernels::CtcSequence> sequences(shape_.batch);
    for (int64_t n = 0; n < shape_.batch; ++n) sequences[n] = Sequence(bottom, n);
    const float* x = bottom[0]->data();
    float* p = gradient_.mutable_data();
    kernels::softmax_kernels().forward({shape_.steps * shape_.batch, shape_.classes, 1}, x, p);
    std::vector<double> cost(shape_.batch);
    kernels::ctc(shape_, sequences, x, needs_backward(), p, cost.data());
    double sum = 0;
    for (const double c : cost) sum += c;
    top[0]->mutable_data()[0] = static_cast<float>(sum / mean_divisor(shape_.batch));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const auto scale = static_cast<float>(top[0]->diff()[0] / mean_divisor(shape_.batch));
    kernels::eltwise_kernels().scale(gradient_.count(), scale, gradient_.data(),
                                     bottom[0]->mutable_diff());
  }

 protected:
  // Throws pydl::Error where the other bottoms do not go with the scores.
  virtual void CheckLabels(const Blobs& bottom) const = 0;
  virtual kernels::CtcSequence Sequence(const Blobs& bottom, int64_t n) const = 0;

  int64_t batch() const { return shape_.batch; }
  int64_t steps() const { return shape_.steps; }

  // Throws pydl::Error unless the label is a class; as in the forks it is cut to an integer.
  int32_t LabelOf(const Blob& labels, int64_t index, int32_t shift = 0) const {
    const float label = labels.data()[index] + static_cast<float>(shift);
    check(label >= 0 && label < static_cast<float>(shape_.classes), "label ", labels.data()[index],
          " at ", position_text(labels.shape(), index), " of the ", shape_text(labels.shape()),
          " labels is not in ", -shift, " to ", shape_.classes - 1 - shift);
    return static_cast<int32_t>(label);
  }

  // Labels padded with the blank, which is passed over wherever it stands: (N, L).
  kernels::CtcSequence PaddedSequence(const Blob& labels, int64_t n) const {
    kernels::CtcSequence sequence{steps(), {}};
    const int64_t length = labels.count(1);
    for (int64_t i = n * length; i < (n + 1) * length; ++i) {
      const int32_t label = LabelOf(labels, i);
      if (label != shape_.blank) sequence.labels.push_back(label);
    }
    return sequence;
  }
  void CheckPaddedLabels(const Blob& labels) const {
    check(labels.axes() >= 1 && labels.shape(0) == batch(), "needs a row of labels for each of ",
          batch(), " sequences, padded with the blank; got labels of shape ",
          shape_text(labels.shape()));
  }

 private:
  static void CheckGiven(const char* field, int64_t given, const char* what, int64_t has) {
    check(given == 0 || given == has, field, " is ", given, ", but its bottom has ", has, " ",
          what);
  }

  kernels::CtcShape shape_{};
  Blob gradient_;  // (T, N, C): of the sum of the costs
};

// bottoms: scores, labels (N, L) padded with the blank
class CtcLoss final : public CtcLossBase {
 public:
  Arity bottoms() const override { return {2, 2}; }

 private:
  void CheckLabels(const Blobs& bottom) const override { CheckPaddedLabels(*bottom[1]); }
  kernels::CtcSequence Sequence(const Blobs& bottom, int64_t n) const override {
    return PaddedSequence(*bottom[1], n);
  }
};

// bottoms, one of
//   scores, labels (N, L) padded with the blank
//   scores, cont (T, N) as of an LSTM, labels (T, N), which end with a negative one; where the
//     blank is 0 they are counted without it
//   scores, lengths of the sequences (N), lengths of the labels (N), labels (L, N)
class WarpCtcLoss final : public CtcLossBase {
 public:
  Arity bottoms() const override { return {2, 4}; }

 private:
  void CheckLabels(const Blobs& bottom) const override {
    if (bottom.size() == 2) return CheckPaddedLabels(*bottom[1]);
    const Blob& labels = *bottom.back();
    check(labels.axes() >= 2 && labels.shape(1) == batch() && labels.count(2) == 1,
          "needs labels of length x ", batch(), " sequences, got ", shape_text(labels.shape()));
    if (bottom.size() == 3) {
      const Blob& cont = *bottom[1];
      check(cont.count() == steps() * batch(), "needs an indicator for each of ", steps(),
            " steps of ", batch(), " sequences, got ", shape_text(cont.shape()));
      return;
    }
    for (int i : {1, 2}) {
      check(bottom[i]->count() == batch(), "needs a length for each of ", batch(),
            " sequences, got ", shape_text(bottom[i]->shape()));
    }
  }

  kernels::CtcSequence Sequence(const Blobs& bottom, int64_t n) const override {
    if (bottom.size() == 2) return PaddedSequence(*bottom[1], n);
    const Blob& labels = *bottom.back();
    if (bottom.size() == 4) {
      const int64_t length = Length(*bottom[2], n, labels.shape(0));
      return {Length(*bottom[1], n, steps()), Labels(labels, n, length, 0)};
    }
    const float *cont = bottom[1]->data(), *label = labels.data();
    int64_t used = 1, length = 0;
    while (used < steps() && std::lround(cont[used * batch() + n]) != 0) ++used;
    while (length < labels.shape(0) && !(label[length * batch() + n] < 0)) ++length;
    return {length == 0 ? 0 : used,
            Labels(labels, n, length, params_of().blank_label == 0 ? 1 : 0)};
  }

  std::vector<int32_t> Labels(const Blob& labels, int64_t n, int64_t length, int32_t shift) const {
    std::vector<int32_t> out(length);
    for (int64_t i = 0; i < length; ++i) out[i] = LabelOf(labels, i * batch() + n, shift);
    return out;
  }

  static int64_t Length(const Blob& lengths, int64_t n, int64_t most) {
    const float length = lengths.data()[n];
    check(length >= 0 && length <= static_cast<float>(most), "length ", length, " of sequence ", n,
          " is not in 0 to ", most);
    return static_cast<int64_t>(length);
  }
};

PYDL_REGISTER_LAYER("CtcLoss", CtcLoss,
                    "Connectionist temporal classification: minus the logarithm of the probability "
                    "of a label sequence, over scores of steps x sequences x classes; the mean "
                    "over the batch. Labels (sequences x length) are padded with the blank.");
PYDL_REGISTER_LAYER("WarpCTCLoss", WarpCtcLoss,
                    "CtcLoss as other forks spell it: labels padded with the blank; or cont as of "
                    "an LSTM and labels (steps x sequences) that a negative one ends; or the "
                    "lengths of sequences and labels, and labels (length x sequences).");

}  // namespace pydl
