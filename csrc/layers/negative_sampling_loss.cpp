// NegativeSamplingLoss: learns which of very many outputs, words above all, belongs to an input, by
// telling it apart from a few drawn at random (Mikolov et al. 2013, arXiv:1310.4546); with `nce`,
// noise-contrastive estimation (Gutmann & Hyvarinen 2010; Mnih & Teh 2012, arXiv:1206.6426).
//
//   -log sigmoid(s[target]) - sum over K negatives k of log sigmoid(-s[k]), s = W x + b
//
// Negatives are drawn from q, in proportion to count^power or, without counts, log-uniformly: word
// k of a vocabulary sorted by frequency with probability log((k + 2) / (k + 1)) / log(V + 1), which
// is about Zipf's law. One that is the target itself is left out, as word2vec's program has it. NCE
// leaves none out, and takes s - log(K q) for s: its scores then tend to logarithms of
// probabilities.

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>
#include <sstream>

#include "core/random.h"
#include "kernels/negative_sampling.h"
#include "layers/alias_table.h"
#include "layers/labels.h"
#include "layers/loss_params.h"
#include "pydl/filler.h"
#include "pydl/layer.h"

namespace pydl {

struct NegativeSamplingLossParams {
  int32_t num_output = 0, negatives = 5;
  std::optional<float> power;
  std::string source;
  std::vector<float> count;
  bool nce = false, bias_term = false;
  FillerParams weight_filler, bias_filler;

  static auto fields() {
    using P = NegativeSamplingLossParams;
    return Fields(
        "negative_sampling_loss_param",
        Field("num_output", &P::num_output, "size of the vocabulary; required"),
        Field("negatives", &P::negatives, "K, how many are drawn for each target"),
        Field("source", &P::source,
              "text file with a line for each word in the order of their numbers, which ends in "
              "how often it occurs"),
        Field("count", &P::count, "or these numbers themselves; neither: log-uniform"),
        Field("power", &P::power, "negatives are drawn in proportion to count^power; 0.75"),
        Field("nce", &P::nce, "noise-contrastive estimation: scores are less log(K q)"),
        Field("bias_term", &P::bias_term, "add a learned bias for each word"),
        Field("weight_filler", &P::weight_filler, "start values of the weights"),
        Field("bias_filler", &P::bias_filler, "start values of the bias"));
  }
};

// bottoms: x (..., D), targets (...): numbers of words
// tops:    the loss, a scalar: the sum over targets / their number; and if wanted the negatives
//          (..., K), -1 where one is left out
// params:  W (V, D), b (V), as an InnerProduct's, which may share them
class NegativeSamplingLoss final : public LayerOf<NegativeSamplingLossParams, LossParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  Arity tops() const override { return {1, 2}; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool is_loss() const override { return true; }
  std::vector<int64_t*> state() override { return {&draws_}; }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    const NegativeSamplingLossParams& p = params_of();
    check(p.num_output > 0, "negative_sampling_loss_param.num_output, the size of the vocabulary, ",
          "must be given and positive, not ", p.num_output);
    check(p.num_output <= kMostWords, "num_output is ", p.num_output, ", but numbers above ",
          kMostWords, " are not exact in float32");
    check(p.negatives > 0, "negatives must be positive, got ", p.negatives);
    check(bottom[0]->axes() > 0, "needs vectors in its first bottom, got a scalar");
    SetUpDraws();
    size_ = bottom[0]->shape(-1);
    AddParam({p.num_output, size_}, &p.weight_filler);
    if (p.bias_term) AddParam({p.num_output}, &p.bias_filler);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob &x = *bottom[0], &target = *bottom[1];
    check(x.axes() > 0 && x.shape(-1) == size_, "was set up for vectors of ", size_,
          " values, but its bottom is now ", shape_text(x.shape()));
    check(target.count() == x.count(0, x.axes() - 1), "needs a target for each of the ",
          x.count(0, x.axes() - 1), " vectors of ", shape_text(x.shape()), ", but the targets are ",
          shape_text(target.shape()));
    top[0]->Reshape({});
    if (top.size() < 2) return;
    Shape negatives = target.shape();
    negatives.push_back(params_of().negatives);
    top[1]->Reshape(negatives);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    Draw(*bottom[1]);
    wrong_.resize(ids_.size());
    const bool bias = params_of().bias_term;
    const double loss = kernels::negative_sampling_kernels().forward(
        shape(), bottom[0]->data(), params()[0]->data(), bias ? params()[1]->data() : nullptr,
        offset_.empty() ? nullptr : offset_.data(), ids_.data(), wrong_.data());
    const int64_t rows = bottom[1]->count();
    normalizer_ = normalizer(params_of<LossParams>().mode(Normalization::kValid), rows, 1, valid_);
    top[0]->mutable_data()[0] = static_cast<float>(loss / normalizer_);
    if (top.size() > 1) ShowNegatives(top[1]->mutable_data());
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const auto& kernels = kernels::negative_sampling_kernels();
    const auto scale = static_cast<float>(top[0]->diff()[0] / normalizer_);
    const bool bias = params_of().bias_term && param_propagate(1);
    float* dw = param_propagate(0) ? params()[0]->update_diff() : nullptr;
    kernels.backward_w(shape(), bottom[0]->data(), ids_.data(), wrong_.data(), scale, dw,
                       bias ? params()[1]->update_diff() : nullptr);
    if (down[0] == Propagate::kNo) return;
    kernels.backward_x(shape(), params()[0]->data(), ids_.data(), wrong_.data(), scale,
                       bottom[0]->mutable_diff());
  }

  double flops(const Blobs& bottom, const Blobs&) const override {
    return 2.0 * static_cast<double>(bottom[0]->count() * samples());
  }

 private:
  static constexpr int32_t kMostWords = 1 << 24;

  int64_t samples() const { return 1 + params_of().negatives; }
  kernels::SampledShape shape() const {
    return {static_cast<int64_t>(ids_.size()) / samples(), samples(), size_};
  }

  // ---- the distribution of negatives ----

  void SetUpDraws() {
    const NegativeSamplingLossParams& p = params_of();
    const std::vector<double> q = Probabilities();
    table_ = std::make_unique<AliasTable>(q);
    if (!p.nce) return;
    for (size_t k = 0; k < q.size(); ++k) {
      check(q[k] > 0, "with nce each word must have a count above 0, but word ", k, " has none");
      offset_.push_back(static_cast<float>(-std::log(p.negatives * q[k])));
    }
  }

  std::vector<double> Probabilities() const {
    const NegativeSamplingLossParams& p = params_of();
    check(p.source.empty() || p.count.empty(), "counts are given by source and by count; give one");
    const bool counted = !p.source.empty() || !p.count.empty();
    check(counted || !p.power, "power is for counts; give source or count");
    const auto words = static_cast<size_t>(p.num_output);
    std::vector<double> q(words);
    if (!counted) {
      const double all = std::log(p.num_output + 1.0);
      for (size_t k = 0; k < words; ++k) q[k] = std::log1p(1 / (static_cast<double>(k) + 1)) / all;
      return q;
    }
    const std::vector<float> count = p.source.empty() ? p.count : ReadCounts(p.source);
    const std::string from = p.source.empty() ? "count" : "\"" + p.source + "\"";
    check(count.size() == words, from, " gives ", count.size(), " counts, but num_output is ",
          words);
    for (size_t k = 0; k < words; ++k) {
      check(count[k] >= 0 && std::isfinite(count[k]), from, ": the count of word ", k,
            " must be a number from 0 on, got ", count[k]);
      q[k] = count[k] > 0 ? std::pow(double{count[k]}, double{p.power.value_or(0.75f)}) : 0;
    }
    const double sum = std::accumulate(q.begin(), q.end(), 0.0);
    check(sum > 0 && std::isfinite(sum), from, ": no word can be drawn, as the sum of count^power ",
          "is ", sum);
    for (double& each : q) each /= sum;
    return q;
  }

  // The last word of each line, as a number.
  static std::vector<float> ReadCounts(const std::string& path) {
    std::ifstream file(path);
    check(file.good(), "cannot read \"", path, "\", the counts of words");
    std::vector<float> counts;
    for (std::string line; std::getline(file, line);) {
      const size_t end = line.find_last_not_of(" \t\r");
      check(end != std::string::npos, path, ":", counts.size() + 1, ": the line is empty");
      const size_t begin = line.find_last_of(" \t", end) + 1;
      const std::string number = line.substr(begin, end + 1 - begin);
      char* rest = nullptr;
      counts.push_back(std::strtof(number.c_str(), &rest));
      check(*rest == '\0', path, ":", counts.size(), ": \"", number, "\" is no count");
    }
    return counts;
  }

  // ---- the draws of a pass ----

  // They are a function of draws_ alone, and ids_ keeps them for the backward pass.
  void Draw(const Blob& targets) {
    const auto& ignore = params_of<LossParams>().ignore_label;
    const int64_t rows = targets.count(), negatives = params_of().negatives;
    CheckTargets(targets, ignore);
    ++draws_;
    drawn_.resize(rows * negatives);
    kernels::negative_sampling_kernels().draw(
        rows * negatives, params_of().num_output, table_->keep.data(), table_->alias.data(),
        context().seed, stream_of(name()) + static_cast<uint64_t>(draws_), drawn_.data());
    ids_.assign(rows * samples(), -1);
    const float* target = targets.data();
    valid_ = 0;
    for (int64_t r = 0; r < rows; ++r) {
      if (is_ignored(target[r], ignore)) continue;
      ++valid_;
      const auto id = static_cast<int32_t>(target[r]);
      int32_t* ids = ids_.data() + r * samples();
      ids[0] = id;
      for (int64_t k = 0; k < negatives; ++k) {
        const int32_t drawn = drawn_[r * negatives + k];
        ids[1 + k] = drawn == id && !params_of().nce ? -1 : drawn;
      }
    }
  }

  void CheckTargets(const Blob& targets, const std::optional<int32_t>& ignore) const {
    const float* target = targets.data();
    for (int64_t i = 0; i < targets.count(); ++i) {
      const bool is_word = target[i] >= 0 && target[i] < static_cast<float>(params_of().num_output);
      if (is_word || is_ignored(target[i], ignore)) continue;
      fail("target ", target[i], " at ", position_text(targets.shape(), i), " of the ",
           shape_text(targets.shape()), " targets is no word: the vocabulary has 0 to ",
           params_of().num_output - 1);
    }
  }

  void ShowNegatives(float* to) const {
    for (size_t i = 0; i < ids_.size(); ++i) {
      if (static_cast<int64_t>(i) % samples() != 0) *to++ = static_cast<float>(ids_[i]);
    }
  }

  int64_t size_ = 0;  // D
  std::unique_ptr<AliasTable> table_;
  std::vector<float> offset_;         // -log(K q) of each word, with nce
  int64_t draws_ = 0;                 // forward passes
  std::vector<int32_t> drawn_, ids_;  // (rows, K), and (rows, 1 + K) as in the kernels' header
  std::vector<float> wrong_;          // likewise
  int64_t valid_ = 0;                 // targets that are not ignored
  double normalizer_ = 1;
};

PYDL_REGISTER_LAYER("NegativeSamplingLoss", NegativeSamplingLoss,
                    "Holds an output vector for each word of a vocabulary and learns which word "
                    "belongs to an input vector, by logistic losses of the target and of K words "
                    "drawn at random (word2vec), at a cost that does not depend on the size of the "
                    "vocabulary. With nce noise-contrastive estimation. A second top is the "
                    "negatives drawn.");

}  // namespace pydl
