// AnnotatedData: batches of pictures with boxes around their objects, varied at random: colours,
// a larger canvas, a part of it, size, mirror image (Liu et al. 2016, "SSD", arXiv:1512.02325). The
// boxes follow.

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "core/pass_order.h"
#include "core/read_ahead.h"
#include "kernels/image.h"
#include "layers/augment.h"
#include "layers/box_sampler.h"
#include "layers/data_params.h"
#include "layers/picture.h"
#include "layers/record_feed.h"
#include "layers/source_hook.h"
#include "layers/transform.h"
#include "pydl/layer.h"

namespace pydl {

enum class AnnotationType { kBoxes = 0 };
constexpr std::array<EnumName, 1> enum_names(AnnotationType) { return {{{"BBOX", 0}}}; }

struct AnnotatedDataParams {
  std::vector<BatchSamplerParams> batch_sampler;
  std::string label_map_file;
  std::optional<AnnotationType> anno_type;

  static auto fields() {
    using P = AnnotatedDataParams;
    return Fields("annotated_data_param",
                  Field("batch_sampler", &P::batch_sampler,
                        "parts to train on, of which one is "
                        "drawn for each picture"),
                  Field("label_map_file", &P::label_map_file,
                        "names of the classes, for people: they are not read here"),
                  Field("anno_type", &P::anno_type, "BBOX; else as the records say"));
  }
};

// transform_param with what SSD's fork adds to it.
struct AnnotatedTransformParams {
  float scale = 1;
  bool mirror = false;
  uint32_t crop_size = 0, crop_h = 0, crop_w = 0;
  std::string mean_file;
  std::vector<float> mean_value;
  bool force_color = false, force_gray = false;
  std::optional<ResizeParams> resize_param;
  std::optional<NoiseParams> noise_param;
  std::optional<DistortionParams> distort_param;
  std::optional<ExpansionParams> expand_param;
  std::optional<EmitParams> emit_constraint;
  std::optional<AugmentParams> augment;

  static auto fields() {
    using P = AnnotatedTransformParams;
    return Fields(
        "transform_param", Field("scale", &P::scale, "factor on every value, after the mean"),
        Field("mirror", &P::mirror, "flip left to right at random"),
        Field("crop_size", &P::crop_size, "square cut out: at random in TRAIN, the middle in TEST"),
        Field("crop_h", &P::crop_h, "rows cut out; with crop_w"),
        Field("crop_w", &P::crop_w, "columns cut out; with crop_h"),
        Field("mean_file", &P::mean_file, "mean image to subtract, a .binaryproto"),
        Field("mean_value", &P::mean_value, "mean to subtract: one, or one per channel"),
        Field("force_color", &P::force_color, "decode images to 3 channels"),
        Field("force_gray", &P::force_gray, "decode images to 1 channel"),
        Field("resize_param", &P::resize_param, "the size of the pictures"),
        Field("noise_param", &P::noise_param, "what is done to all pictures"),
        Field("distort_param", &P::distort_param, "colours varied at random"),
        Field("expand_param", &P::expand_param,
              "pictures on larger canvases, filled with the mean"),
        Field("emit_constraint", &P::emit_constraint, "which boxes a part of a picture keeps"),
        Field(
            "augment", &P::augment,
            "in TRAIN: pictures varied at random, as the net sees them, by what moves no pixels"));
  }

  TransformParams plain() const {
    TransformParams p;
    p.scale = scale;
    p.mean_file = mean_file;
    p.mean_value = mean_value;
    p.force_color = force_color;
    p.force_gray = force_gray;
    p.augment = augment;
    return p;
  }
};

namespace {

// A picture on its way, and the boxes in it as parts of it.
struct Scene {
  Picture picture;
  std::vector<BoxLabel> boxes;
};

Box box_of(const BoxLabel& b) { return {b.x1, b.y1, b.x2, b.y2}; }

bool is_emitted(const EmitParams& p, const Box& part, const Box& box) {
  if (p.emit_type == EmitType::kMinOverlap) return coverage(box, part) > p.emit_overlap;
  const float x = (box.x1 + box.x2) / 2, y = (box.y1 + box.y2) / 2;
  return x >= part.x1 && x <= part.x2 && y >= part.y1 && y <= part.y2;
}

// The boxes as parts of `part`, cut to it; those that it does not keep are gone.
std::vector<BoxLabel> project(const std::vector<BoxLabel>& boxes, const Box& part,
                              const std::optional<EmitParams>& emit) {
  std::vector<BoxLabel> out;
  const float width = part.x2 - part.x1, height = part.y2 - part.y1;
  for (const BoxLabel& b : boxes) {
    if (emit && !is_emitted(*emit, part, box_of(b))) continue;
    const Box inside = clip_to_unit({(b.x1 - part.x1) / width, (b.y1 - part.y1) / height,
                                     (b.x2 - part.x1) / width, (b.y2 - part.y1) / height});
    if (!(area(inside) > 0)) continue;
    out.push_back({b.label, b.instance, inside.x1, inside.y1, inside.x2, inside.y2, b.difficult});
  }
  return out;
}

}  // namespace

// tops: data (batch_size, C, H, W), and perhaps label: (1, 1, G, 8) with a row image, class,
// instance, x1, y1, x2, y2, difficult for each box of the batch, or one of -1 where there are none;
// (batch_size) for records without boxes
class AnnotatedData final
    : public LayerOf<AnnotatedDataParams, DataParams, AnnotatedTransformParams> {
 public:
  Arity bottoms() const override { return {0, 0}; }
  Arity tops() const override { return {1, 2}; }
  std::vector<int64_t*> state() override { return {&cursor_}; }

  void SetUp(const Blobs&, const Blobs&) override {
    const DataParams& p = params_of<DataParams>();
    const AnnotatedTransformParams& t = params_of<AnnotatedTransformParams>();
    CheckParams(t);
    check(p.batch_size > 0, "data_param.batch_size must be given and positive");
    check(!p.source.empty(), "data_param.source must be given");
    check(p.crop_size == 0 && !p.mirror, "crop_size and mirror belong in transform_param");
    plain_ = with_old_fields(t.plain(), p);
    transform_.emplace(plain_, phase() == Phase::kTrain);
    source_ = checked_hook(data_hooks().open,
                           p.source)(source_request("AnnotatedData", p, color_of(plain_)));
    check(source_->size() > 0, "its source is empty");
    if (p.rand_skip > 0) {
      cursor_ = Random(context().seed, stream_of(name()) + kSkipStream).below(p.rand_skip);
    }
    Open(context().seed);
  }

  bool wants_reshape(const Blobs& top) override {
    const Batch& batch = NextBatch();
    return batch.data_shape != top[0]->shape() ||
           (top.size() > 1 && batch.label_shape != top[1]->shape());
  }

  void Reshape(const Blobs&, const Blobs& top) override {
    const Batch& batch = NextBatch();
    top[0]->Reshape(batch.data_shape);
    if (top.size() > 1) top[1]->Reshape(batch.label_shape);
  }

  void Forward(const Blobs&, const Blobs& top) override {
    const Batch& batch = NextBatch();
    std::copy(batch.data.begin(), batch.data.end(), top[0]->mutable_data());
    if (top.size() > 1) {
      std::copy(batch.labels.begin(), batch.labels.end(), top[1]->mutable_data());
    }
    batch_.reset();
    cursor_ += params_of<DataParams>().batch_size;
  }

 private:
  static constexpr int64_t kColumns = 8;

  struct Batch {
    Shape data_shape, label_shape;
    std::vector<float> data, labels;
  };

  void CheckParams(const AnnotatedTransformParams& t) const {
    check((t.crop_h > 0) == (t.crop_w > 0) && (t.crop_h == 0 || t.crop_size == 0),
          "give crop_size, or crop_h and crop_w");
    check(
        !t.augment || !is_geometric(*t.augment),
        "transform_param.augment: boxes do not follow rotation, shear, scale, aspect, translation "
        "and flip_vertical; use expand_param, batch_sampler and mirror, which they do follow");
    if (t.resize_param) check_params(*t.resize_param);
    if (t.noise_param) check_params(*t.noise_param);
    if (t.distort_param) check_params(*t.distort_param);
    if (t.expand_param) check_params(*t.expand_param);
    for (const auto& sampler : params_of<AnnotatedDataParams>().batch_sampler) {
      check_params(sampler);
    }
  }

  void Open(uint64_t seed) {
    batch_.reset();
    batches_.reset();  // its thread reads seed_
    seed_ = seed;
    const DataParams& p = params_of<DataParams>();
    const auto order =
        std::make_shared<PassOrder>(source_->size(), p.shuffle, seed, stream_of(name()));
    const auto make = [this, order, n = int64_t{p.batch_size}](int64_t first) {
      std::vector<int64_t> numbers(n);
      for (int64_t i = 0; i < n; ++i) numbers[i] = order->at(first + i);
      return std::make_shared<const Batch>(MakeBatch(source_->Read(numbers), first));
    };
    batches_ = std::make_unique<ReadAhead>(make, p.batch_size, p.prefetch);
  }

  const Batch& NextBatch() {
    if (context().seed != seed_) Open(context().seed);
    batch_ = batches_->Get(cursor_);
    return *static_cast<const Batch*>(batch_.get());
  }

  // Number `first` of the run and those behind it.
  Batch MakeBatch(const Records& records, int64_t first) const {
    Batch batch;
    const bool annotated = records[0].annotated;
    check(annotated || !params_of<AnnotatedDataParams>().anno_type, "anno_type is given, but \"",
          params_of<DataParams>().source, "\" has no boxes; make it with pydl convert_annoset");
    const auto count = static_cast<int64_t>(records.size());
    for (int64_t i = 0; i < count; ++i) {
      check(records[i].annotated == annotated, records[i].name, ": ",
            annotated ? "no boxes, unlike" : "boxes, unlike", " the first record of its batch");
      try {
        AddRecord(records[i], first + i, i, &batch);
      } catch (const Error& e) {
        fail(records[i].name, ": ", e.what());
      }
    }
    if (!annotated) {
      batch.label_shape = {count};
    } else {
      if (batch.labels.empty()) batch.labels.assign(kColumns, -1.0f);
      batch.label_shape = {1, 1, static_cast<int64_t>(batch.labels.size()) / kColumns, kColumns};
    }
    return batch;
  }

  // What is random is a function of the seed, the layer and the record's number in the run.
  void AddRecord(const Record& record, int64_t number, int64_t place, Batch* batch) const {
    const PhiloxBlock key = philox(seed_, stream_of(name()), static_cast<uint64_t>(number));
    Random random(uint64_t{key[0]} << 32 | key[1], uint64_t{key[2]} << 32 | key[3]);
    Scene scene{Picture(record), record.boxes};
    const std::vector<float> means = channel_means(plain_, scene.picture.channels);
    Vary(means, &random, &scene);
    Fit(&random, &scene);
    const kernels::ImageCut cut = DrawCut(scene.picture, &random);
    const Shape shape{static_cast<int64_t>(params_of<DataParams>().batch_size), cut.channels,
                      cut.rows, cut.columns};
    if (place == 0) {
      batch->data_shape = shape;
      batch->data.resize(shape_count(shape));
    }
    check(shape == batch->data_shape, "gives ", shape_text(shape), ", the first of its batch ",
          shape_text(batch->data_shape), "; give resize_param, or batches of one");
    const int64_t size = shape_count(shape) / shape[0];
    Record seen;
    seen.shape = {cut.channels, cut.height, cut.width};
    seen.bytes = scene.picture.bytes.data();
    transform_->ApplyTo(seen, cut, seed_, stream_of(name()), number,
                        batch->data.data() + place * size);
    if (!record.annotated) return batch->labels.push_back(record.label);
    for (const BoxLabel& b : BoxesIn(scene, cut)) {
      for (float x :
           {static_cast<float>(place), static_cast<float>(b.label), static_cast<float>(b.instance),
            b.x1, b.y1, b.x2, b.y2, static_cast<float>(b.difficult)}) {
        batch->labels.push_back(x);
      }
    }
  }

  // Colours, canvas and part.
  void Vary(const std::vector<float>& means, Random* random, Scene* scene) const {
    const AnnotatedTransformParams& t = params_of<AnnotatedTransformParams>();
    if (t.distort_param) distort(*t.distort_param, random, &scene->picture);
    if (t.expand_param) Expand(*t.expand_param, means, random, scene);
    std::vector<Box> objects;
    for (const BoxLabel& b : scene->boxes) objects.push_back(box_of(b));
    const auto part = sample_part(params_of<AnnotatedDataParams>().batch_sampler, objects, random);
    if (part) CutPart(*part, scene);
  }

  void Expand(const ExpansionParams& p, const std::vector<float>& means, Random* random,
              Scene* scene) const {
    constexpr float kWorthwhile = 0.01f;
    if (random->uniform() >= p.prob || p.max_expand_ratio - 1 < kWorthwhile) return;
    const float ratio = draw(1, p.max_expand_ratio, random);
    const Picture& picture = scene->picture;
    const auto grown = [&](int64_t size) {
      return static_cast<int64_t>(static_cast<float>(size) * ratio);
    };
    const int64_t height = grown(picture.height), width = grown(picture.width);
    shape_count({picture.channels, height, width});  // within the memory limit
    const int64_t top = random->below(height - picture.height + 1);
    const int64_t left = random->below(width - picture.width + 1);
    const auto part = [](int64_t a, int64_t b) {
      return static_cast<float>(a) / static_cast<float>(b);
    };
    const Box canvas{-part(left, picture.width), -part(top, picture.height),
                     part(width - left, picture.width), part(height - top, picture.height)};
    scene->boxes = project(scene->boxes, canvas, Emit());
    scene->picture = put_on_canvas(picture, height, width, top, left, means);
  }

  void CutPart(const Box& part, Scene* scene) const {
    const Box p = clip_to_unit(part);
    const auto place = [](float x, int64_t size) {
      return std::min(static_cast<int64_t>(x * static_cast<float>(size)), size - 1);
    };
    const Picture& picture = scene->picture;
    const int64_t left = place(p.x1, picture.width), top = place(p.y1, picture.height);
    const auto side = [](float x, int64_t size, int64_t begin) {
      return std::clamp<int64_t>(static_cast<int64_t>(x * static_cast<float>(size)), 1,
                                 size - begin);
    };
    scene->boxes = project(scene->boxes, p, Emit());
    scene->picture = cut(picture, top, left, side(p.y2 - p.y1, picture.height, top),
                         side(p.x2 - p.x1, picture.width, left));
  }

  // To the size that the net sees, and what is done there.
  void Fit(Random* random, Scene* scene) const {
    const AnnotatedTransformParams& t = params_of<AnnotatedTransformParams>();
    if (t.resize_param) {
      const ResizePlan plan =
          plan_resize(*t.resize_param, scene->picture.height, scene->picture.width);
      scene->picture = resize_picture(*t.resize_param, scene->picture, random);
      const auto follow = [](float x, int64_t size, int64_t offset, int64_t canvas) {
        return (x * static_cast<float>(size) + static_cast<float>(offset)) /
               static_cast<float>(canvas);
      };
      for (BoxLabel& b : scene->boxes) {
        for (float* x : {&b.x1, &b.x2}) *x = follow(*x, plan.width, plan.left, plan.canvas_width);
        for (float* y : {&b.y1, &b.y2}) *y = follow(*y, plan.height, plan.top, plan.canvas_height);
      }
    }
    if (t.noise_param) add_noise(*t.noise_param, random, &scene->picture);
  }

  kernels::ImageCut DrawCut(const Picture& picture, Random* random) const {
    const AnnotatedTransformParams& t = params_of<AnnotatedTransformParams>();
    kernels::ImageCut cut{.channels = picture.channels,
                          .height = picture.height,
                          .width = picture.width,
                          .top = 0,
                          .left = 0,
                          .rows = picture.height,
                          .columns = picture.width,
                          .flip = false};
    if (t.crop_size > 0) cut.rows = cut.columns = t.crop_size;
    if (t.crop_h > 0) cut.rows = t.crop_h, cut.columns = t.crop_w;
    check(cut.rows <= cut.height && cut.columns <= cut.width, "a crop of ", cut.rows, " x ",
          cut.columns, " is larger than the picture, ", cut.height, " x ", cut.width);
    const int64_t spare_h = cut.height - cut.rows, spare_w = cut.width - cut.columns;
    const bool train = phase() == Phase::kTrain;
    cut.flip = t.mirror && random->uniform() < 0.5f;
    cut.top = train ? random->below(spare_h + 1) : spare_h / 2;
    cut.left = train ? random->below(spare_w + 1) : spare_w / 2;
    return cut;
  }

  std::vector<BoxLabel> BoxesIn(const Scene& scene, const kernels::ImageCut& cut) const {
    const AnnotatedTransformParams& t = params_of<AnnotatedTransformParams>();
    const auto width = static_cast<float>(cut.width), height = static_cast<float>(cut.height);
    const Box part{static_cast<float>(cut.left) / width, static_cast<float>(cut.top) / height,
                   static_cast<float>(cut.left + cut.columns) / width,
                   static_cast<float>(cut.top + cut.rows) / height};
    std::vector<BoxLabel> boxes = project(scene.boxes, part, Emit());
    const bool extrapolates = t.resize_param && t.resize_param->height_scale > 0 &&
                              t.resize_param->resize_mode == ResizeMode::kFitSmallSize;
    for (BoxLabel& b : boxes) {
      if (cut.flip) {
        const float x1 = b.x1;
        b.x1 = 1 - b.x2;
        b.x2 = 1 - x1;
      }
      if (extrapolates) {
        const float x = static_cast<float>(cut.columns) / t.resize_param->width_scale;
        const float y = static_cast<float>(cut.rows) / t.resize_param->height_scale;
        b.x1 *= x, b.x2 *= x, b.y1 *= y, b.y2 *= y;
      }
    }
    return boxes;
  }

  const std::optional<EmitParams>& Emit() const {
    return params_of<AnnotatedTransformParams>().emit_constraint;
  }

  TransformParams plain_;
  std::optional<Transform> transform_;  // of what the net sees
  std::shared_ptr<DataSource> source_;
  uint64_t seed_ = 0;
  int64_t cursor_ = 0;                  // records given out so far
  std::shared_ptr<const void> batch_;   // the next one
  std::unique_ptr<ReadAhead> batches_;  // last: its thread uses all of the above
};

PYDL_REGISTER_LAYER("AnnotatedData", AnnotatedData,
                    "Batches of pictures with boxes around their objects, varied at random; the "
                    "boxes follow.");

}  // namespace pydl
