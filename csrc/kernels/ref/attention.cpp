// The definition of attention (attention.h): plain loops, double accumulation.
#include "kernels/attention.h"

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/ref/array.h"

namespace pydl::kernels::ref {

extern const AttentionKernels attention;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// One head of one item of the batch.
struct Head {
  const AttentionShape& s;
  int64_t n, h;

  int64_t q(int64_t i, int64_t d) const { return (n * s.queries + i) * s.q_stride + at(d); }
  int64_t k(int64_t j, int64_t d) const { return (n * s.key_rows + j) * s.k_stride + at(d); }
  int64_t v(int64_t j, int64_t d) const { return (n * s.key_rows + j) * s.v_stride + at(d); }
  int64_t out(int64_t i, int64_t d) const { return (n * s.queries + i) * s.out_stride + at(d); }
  int64_t row(int64_t i) const { return (n * s.heads + h) * s.queries + i; }

  bool sees(int64_t i, int64_t j, const float* mask) const {
    return !(s.causal && j > i + s.keys - s.queries) && !(mask && mask[n * s.keys + j] == 0);
  }
  double score(int64_t i, int64_t j, ConstArray of_q, ConstArray of_k) const {
    double sum = 0;
    for (int64_t d = 0; d < s.size; ++d) {
      sum += static_cast<double>(get(of_q, q(i, d))) * get(of_k, k(j, d));
    }
    return s.scale * sum;
  }

 private:
  int64_t at(int64_t d) const { return h * s.size + d; }
};

template <class F>
void for_each_head(const AttentionShape& s, const F& f) {
  for (int64_t n = 0; n < s.batch; ++n) {
    for (int64_t h = 0; h < s.heads; ++h) f(Head{s, n, h});
  }
}

void forward(const AttentionShape& s, ConstArray q, ConstArray k, ConstArray v, const float* mask,
             Array out, float* lse) {
  std::vector<double> p(s.keys), o(s.size);
  for_each_head(s, [&](const Head& head) {
    for (int64_t i = 0; i < s.queries; ++i) {
      double most = -kInfinity, sum = 0;
      for (int64_t j = 0; j < s.keys; ++j) {
        p[j] = head.sees(i, j, mask) ? head.score(i, j, q, k) : -kInfinity;
        if (p[j] > most) most = p[j];
      }
      for (int64_t j = 0; j < s.keys; ++j)
        sum += p[j] = head.sees(i, j, mask) ? std::exp(p[j] - most) : 0;
      for (int64_t d = 0; d < s.size; ++d) {
        double total = 0;
        for (int64_t j = 0; j < s.keys; ++j) {
          if (head.sees(i, j, mask)) total += p[j] * get(v, head.v(j, d));
        }
        set(out, head.out(i, d), sum == 0 ? 0 : total / sum);
      }
      lse[head.row(i)] = static_cast<float>(sum == 0 ? kInfinity : most + std::log(sum));
    }
  });
}

void weights(const AttentionShape& s, ConstArray q, ConstArray k, const float* mask,
             const float* lse, float* p) {
  for_each_head(s, [&](const Head& head) {
    for (int64_t i = 0; i < s.queries; ++i) {
      const int64_t row = head.row(i);
      for (int64_t j = 0; j < s.keys; ++j) {
        const bool sees = head.sees(i, j, mask);
        p[row * s.keys + j] =
            static_cast<float>(sees ? std::exp(head.score(i, j, q, k) - lse[row]) : 0);
      }
    }
  });
}

// Sums of one head's gradient (rows, D), stored where the head lies.
class Gradient {
 public:
  Gradient(int64_t rows, int64_t size) : size_(size), sums_(rows * size) {}
  double& at(int64_t row, int64_t d) { return sums_[row * size_ + d]; }
  template <class Place>
  void store(Array to, const Place& place) const {
    for (size_t i = 0; to && i < sums_.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      set(to, place(at / size_, at % size_), sums_[i]);
    }
  }

 private:
  int64_t size_;
  std::vector<double> sums_;
};

void backward(const AttentionShape& s, ConstArray q, ConstArray k, ConstArray v, const float* mask,
              ConstArray out, const float* lse, ConstArray dout, Array dq, Array dk, Array dv) {
  for_each_head(s, [&](const Head& head) {
    Gradient of_q(s.queries, s.size), of_k(s.keys, s.size), of_v(s.keys, s.size);
    for (int64_t i = 0; i < s.queries; ++i) {
      const auto dot = [&](ConstArray x, auto place) {
        double sum = 0;
        for (int64_t d = 0; d < s.size; ++d) {
          sum += static_cast<double>(get(dout, head.out(i, d))) * get(x, place(d));
        }
        return sum;
      };
      const double delta = dot(out, [&](int64_t d) { return head.out(i, d); });
      for (int64_t j = 0; j < s.keys; ++j) {
        if (!head.sees(i, j, mask)) continue;
        const double p = std::exp(head.score(i, j, q, k) - lse[head.row(i)]);
        const double dp = dot(v, [&](int64_t d) { return head.v(j, d); });
        const double ds = s.scale * p * (dp - delta);
        for (int64_t d = 0; d < s.size; ++d) {
          of_q.at(i, d) += ds * get(k, head.k(j, d));
          of_k.at(j, d) += ds * get(q, head.q(i, d));
          of_v.at(j, d) += p * get(dout, head.out(i, d));
        }
      }
    }
    of_q.store(dq, [&](int64_t i, int64_t d) { return head.q(i, d); });
    of_k.store(dk, [&](int64_t j, int64_t d) { return head.k(j, d); });
    of_v.store(dv, [&](int64_t j, int64_t d) { return head.v(j, d); });
  });
}

}  // namespace

const AttentionKernels attention = {forward, backward, weights};

}  // namespace pydl::kernels::ref
