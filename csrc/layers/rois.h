// What the layers that pool regions of interest share: bottoms, images and regions, and top, one
// item for each region.
#pragma once

#include <vector>

#include "core/check.h"
#include "kernels/roi.h"
#include "pydl/layer.h"

namespace pydl {

// A row [item of the batch, x1, y1, x2, y2] of a blob (R, 5) or (R, 5, 1, 1).
struct Roi {
  int32_t image;
  float x1, y1, x2, y2;

  // A coordinate is NaN or infinite: the region has no place, and all of its bins are empty.
  bool nowhere() const;
};

// Throws pydl::Error for bottoms of other shapes than images (N, C, H, W) and regions.
void check_roi_shapes(const Blob& images, const Blob& rois);

// Throws pydl::Error, naming the region, for one whose image is not in the batch.
std::vector<Roi> read_rois(const Blob& rois, int64_t images);

// Throws pydl::Error unless both are given and positive.
void check_pooled(int32_t pooled_h, int32_t pooled_w);

// Along one axis, where the bins of all regions begin and end.
class RoiBins {
 public:
  void clear() { edges_.clear(); }
  // [begin, end), cut to an image of `size`.
  void add(float begin, float end, int64_t size);
  void add_empty(int64_t bins) { edges_.insert(edges_.end(), 2 * bins, 0); }
  const int32_t* data() const { return edges_.data(); }

 private:
  std::vector<int32_t> edges_;
};

template <class... P>
class RoiLayer : public LayerOf<P...> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool backward_reads_bottom(int) const override { return false; }

 protected:
  kernels::RoiShape shape_of(const Blobs& bottom, int64_t ph, int64_t pw) const {
    const Blob& x = *bottom[0];
    return {bottom[1]->shape(0), ph, pw, x.shape(0), x.shape(1), x.shape(2), x.shape(3)};
  }

  std::vector<Roi> Read(const Blobs& bottom) {
    std::vector<Roi> rois = read_rois(*bottom[1], bottom[0]->shape(0));
    image_.clear();
    for (const Roi& roi : rois) image_.push_back(roi.image);
    return rois;
  }

  std::vector<int32_t> image_;  // of each region, in the last forward pass
};

// Of bins: P has pooled_h and pooled_w. top: (R, C, pooled_h, pooled_w)
template <class P>
class BinnedRoiLayer : public RoiLayer<P> {
 public:
  Layouts layouts() const override { return Layouts::kChannelsLast; }

  void SetUp(const Blobs&, const Blobs&) override {
    check_pooled(this->params_of().pooled_h, this->params_of().pooled_w);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    check_roi_shapes(*bottom[0], *bottom[1]);
    const P& p = this->params_of();
    top[0]->Reshape({bottom[1]->shape(0), bottom[0]->shape(1), p.pooled_h, p.pooled_w});
  }
};

}  // namespace pydl
