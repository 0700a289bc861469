// Tile: repeats a blob along one axis.

#include "core/check.h"
#include "kernels/movement.h"
#include "kernels/reduce.h"
#include "pydl/layer.h"

namespace pydl {

struct TileParams {
  int32_t axis = 1, tiles = 0;

  static auto fields() {
    return Fields("tile_param", Field("axis", &TileParams::axis, "the axis to repeat along"),
                  Field("tiles", &TileParams::tiles, "how many times; required"));
  }
};

// bottom: (outer, axis...)   top: (outer, tiles, axis...), with the tiles as part of the axis
class Tile final : public LayerOf<TileParams> {
 public:
  bool backward_reads_bottom(int) const override { return false; }
  DTypes dtypes() const override { return DTypes::kAny; }

  void SetUp(const Blobs&, const Blobs&) override {
    check(params_of().tiles > 0, "tile_param.tiles must be given and positive, not ",
          params_of().tiles);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const int axis = bottom[0]->CanonicalAxis(params_of().axis);
    outer_ = bottom[0]->count(0, axis), inner_ = bottom[0]->count(axis);
    Shape shape = bottom[0]->shape();
    shape[axis] *= params_of().tiles;
    top[0]->Reshape(shape);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    kernels::repeat_rows(outer_, inner_, params_of().tiles, bottom[0]->data(format()),
                         top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    kernels::reduce_kernels().sum_middle(outer_, params_of().tiles, inner_, top[0]->diff(format()),
                                         bottom[0]->mutable_diff(format()));
  }

 private:
  int64_t outer_ = 0, inner_ = 0;
};

PYDL_REGISTER_LAYER("Tile", Tile, "Repeats a blob along one axis.");

}  // namespace pydl
