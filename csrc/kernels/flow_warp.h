// Images moved along a flow, by bilinear interpolation (FlowNet 2; Ilg et al. 2017).
#pragma once

#include <cstdint>

namespace pydl::kernels {

struct FlowWarpShape {
  int64_t n, c, h, w;
};

// y[p] = image at p + flow[p]; `fill` where that is outside. Right of the last column and below the
// last row, the last one stands for the next. image, y: (n, c, h, w)   flow: (n, 2, h, w), x first
void flow_warp_forward(const FlowWarpShape& shape, const float* image, const float* flow,
                       float fill, float* y);
void flow_warp_backward_image(const FlowWarpShape& shape, const float* flow, const float* dy,
                              float* dimage);
void flow_warp_backward_flow(const FlowWarpShape& shape, const float* image, const float* flow,
                             const float* dy, float* dflow);

}  // namespace pydl::kernels
