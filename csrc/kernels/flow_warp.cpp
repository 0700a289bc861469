#include "kernels/flow_warp.h"

#include <algorithm>
#include <vector>

#include "kernels/parallel.h"

namespace pydl::kernels {

namespace {

constexpr int64_t kGrain = 4096;  // pixels worth a thread

// Where a pixel of the result comes from: between four of the image's plane.
struct Taps {
  int32_t at = -1;              // the upper left; -1: outside
  int32_t right = 0, down = 0;  // steps to the others
  float x = 0, y = 0;           // between them
};

// (n, h, w)
std::vector<Taps> find_taps(const FlowWarpShape& s, const float* flow) {
  const int64_t area = s.h * s.w;
  std::vector<Taps> taps(s.n * area);
  parallel_for(
      s.n * s.h, std::max<int64_t>(1, kGrain / std::max<int64_t>(s.w, 1)),
      [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t n = row / s.h, i = row % s.h;
          const float* shift = flow + 2 * n * area + i * s.w;
          for (int64_t j = 0; j < s.w; ++j) {
            const float x = static_cast<float>(j) + shift[j];
            const float y = static_cast<float>(i) + shift[area + j];
            const bool inside =
                x >= 0 && y >= 0 && x < static_cast<float>(s.w) && y < static_cast<float>(s.h);
            if (!inside) continue;  // NaN too
            const auto left = static_cast<int32_t>(x), top = static_cast<int32_t>(y);
            taps[row * s.w + j] = {static_cast<int32_t>(top * s.w + left), left + 1 < s.w ? 1 : 0,
                                   top + 1 < s.h ? static_cast<int32_t>(s.w) : 0,
                                   x - static_cast<float>(left), y - static_cast<float>(top)};
          }
        }
      });
  return taps;
}

// body(plane, taps) for each plane: n of the batch, c of its channels.
template <class Body>
void for_each_plane(const FlowWarpShape& s, const std::vector<Taps>& taps, const Body& body) {
  const int64_t area = s.h * s.w;
  parallel_for(s.n * s.c, std::max<int64_t>(1, kGrain / std::max<int64_t>(area, 1)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t plane = begin; plane < end; ++plane) {
                   body(plane * area, taps.data() + plane / s.c * area);
                 }
               });
}

}  // namespace

void flow_warp_forward(const FlowWarpShape& s, const float* image, const float* flow, float fill,
                       float* y) {
  const std::vector<Taps> taps = find_taps(s, flow);
  for_each_plane(s, taps, [&](int64_t plane, const Taps* t) {
    for (int64_t p = 0; p < s.h * s.w; ++p) {
      if (t[p].at < 0) {
        y[plane + p] = fill;
        continue;
      }
      const float *top = image + plane + t[p].at, *bottom = top + t[p].down;
      const float upper = top[0] + t[p].x * (top[t[p].right] - top[0]);
      const float lower = bottom[0] + t[p].x * (bottom[t[p].right] - bottom[0]);
      y[plane + p] = upper + t[p].y * (lower - upper);
    }
  });
}

void flow_warp_backward_image(const FlowWarpShape& s, const float* flow, const float* dy,
                              float* dimage) {
  const std::vector<Taps> taps = find_taps(s, flow);
  for_each_plane(s, taps, [&](int64_t plane, const Taps* t) {
    std::fill_n(dimage + plane, s.h * s.w, 0.0f);
    for (int64_t p = 0; p < s.h * s.w; ++p) {
      if (t[p].at < 0) continue;
      float *top = dimage + plane + t[p].at, *bottom = top + t[p].down;
      const float lower = t[p].y * dy[plane + p], upper = dy[plane + p] - lower;
      top[0] += (1 - t[p].x) * upper;
      top[t[p].right] += t[p].x * upper;
      bottom[0] += (1 - t[p].x) * lower;
      bottom[t[p].right] += t[p].x * lower;
    }
  });
}

void flow_warp_backward_flow(const FlowWarpShape& s, const float* image, const float* flow,
                             const float* dy, float* dflow) {
  const std::vector<Taps> taps = find_taps(s, flow);
  const int64_t area = s.h * s.w;
  std::fill_n(dflow, 2 * s.n * area, 0.0f);
  parallel_for(s.n * area, std::max<int64_t>(1, kGrain / std::max<int64_t>(s.c, 1)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t at = begin; at < end; ++at) {
                   const Taps& t = taps[at];
                   if (t.at < 0) continue;
                   const int64_t n = at / area, p = at % area;
                   double by_x = 0, by_y = 0;
                   for (int64_t c = 0; c < s.c; ++c) {
                     const int64_t plane = (n * s.c + c) * area;
                     const float *top = image + plane + t.at, *bottom = top + t.down;
                     const float a = top[0], b = top[t.right], d = bottom[0], e = bottom[t.right];
                     const float g = dy[plane + p];
                     by_x += g * ((1 - t.y) * (b - a) + t.y * (e - d));
                     by_y += g * ((1 - t.x) * (d - a) + t.x * (e - b));
                   }
                   dflow[2 * n * area + p] = static_cast<float>(by_x);
                   dflow[(2 * n + 1) * area + p] = static_cast<float>(by_y);
                 }
               });
}

}  // namespace pydl::kernels
