#include <mutex>

#include "bindings/bindings.h"

namespace pydl {

namespace {

Keep keep_from(const std::string& keep) {
  if (keep == "all") return Keep::kAll;
  if (keep == "outputs") return Keep::kOutputs;
  throw Error("keep must be \"all\" or \"outputs\", got \"" + keep + "\"");
}

NetOptions options_from(const std::string& keep, uint64_t seed, const py::dict& rest) {
  NetOptions options = read_params<NetOptions>(value_from(rest));
  options.keep = keep_from(keep);
  options.seed = seed;
  return options;
}

// Ends the net in the main thread, which does so between two instructions of Python. If Python's
// short list of such calls is full, it ends with the next net.
void drop_in_main_thread(std::shared_ptr<Net> net) {
  static std::mutex mutex;
  static std::vector<std::shared_ptr<Net>> left;
  {
    const std::lock_guard lock(mutex);
    left.push_back(std::move(net));
  }
  const auto drop = [](void*) {
    const py::gil_scoped_release release;
    std::vector<std::shared_ptr<Net>> nets;
    const std::lock_guard lock(mutex);
    nets.swap(left);
    return 0;
  };
  Py_AddPendingCall(drop, nullptr);
}

// Dropped without the GIL: the threads that read ahead for its layers end then, which may have to
// finish something in Python first. One of them may be the thread that drops it: Python collects
// cycles of objects in whatever thread it runs.
std::shared_ptr<Net> dropped_without_gil(std::shared_ptr<Net> net) {
  Net* raw = net.get();
  return {raw, [net = std::move(net)](Net*) mutable {
            if (is_reading_ahead()) return drop_in_main_thread(std::move(net));
            if (!Py_IsInitialized() || !PyGILState_Check()) return net.reset();
            const py::gil_scoped_release release;
            net.reset();
          }};
}

std::shared_ptr<Net> make_net(const py::dict& spec, const std::string& keep, uint64_t seed,
                              const py::kwargs& rest) {
  NetSpec net = NetSpec::from_value(value_from(spec));
  const NetOptions options = options_from(keep, seed, rest);
  // Layers may call back into Python (to open data sources), so the GIL is released, not given up.
  py::gil_scoped_release release;
  return dropped_without_gil(std::make_shared<Net>(std::move(net), options));
}

std::shared_ptr<Net> open_bundle(const std::string& path, bool train, const std::string& keep,
                                 uint64_t seed, const py::kwargs& rest) {
  const NetOptions options = options_from(keep, seed, rest);
  const py::gil_scoped_release release;
  return dropped_without_gil(Net::OpenBundle(path, train ? Phase::kTrain : Phase::kTest, options));
}

void add_hook(std::vector<Net::Hook>* hooks, py::function function) {
  hooks->push_back([f = hold(std::move(function))](int layer) {
    py::gil_scoped_acquire gil;
    (*f)(layer);
  });
}

py::list layer_rows(const Net& net) {
  py::list out;
  for (const LayerNode& node : net.layers()) {
    py::dict row;
    row["name"] = node.layer->name();
    row["type"] = node.layer->spec().type;
    row["bottoms"] = node.bottom_names;
    row["tops"] = node.top_names;
    py::list shapes;
    for (const Blob* top : node.top) shapes.append(py::tuple(py::cast(top->shape())));
    row["top_shapes"] = shapes;
    row["param_ids"] = node.param_ids;
    row["loss_weight"] = node.loss_weight;
    row["loss_factor"] = node.loss_factor;
    row["flops"] = node.layer->flops(node.bottom, node.top);
    row["implementation"] = node.layer->implementation();
    row["layout"] = node.layer->layout() == Layout::kChannelsLast ? "channels-last" : "plain";
    row["dtype"] = node.layer->format().dtype == DType::kBFloat16 ? "bfloat16" : "float32";
    row["needs_backward"] = node.needs_backward;
    py::list propagates;  // per bottom
    for (Propagate p : node.down) propagates.append(p != Propagate::kNo);
    row["propagates"] = propagates;
    row["fused"] = node.chain_head >= 0;
    row["view"] = node.view;
    row["forward_ms"] = node.forward_ms;
    row["backward_ms"] = node.backward_ms;
    out.append(row);
  }
  return out;
}

py::list param_rows(const Net& net) {
  py::list out;
  for (const NetParam& param : net.params()) {
    py::dict row;
    row["layer"] = net.layers()[param.layer].layer->name();
    row["index"] = param.index;
    row["name"] = param.name;
    row["shape"] = py::tuple(py::cast(param.blob->shape()));
    row["lr_mult"] = param.lr_mult;
    row["decay_mult"] = param.decay_mult;
    row["max_norm"] = param.max_norm;
    row["noise"] = param.noise;
    row["dropout_ratio"] = param.dropout_ratio;
    row["offset"] = param.offset;
    out.append(row);
  }
  return out;
}

}  // namespace

void bind_net(py::module_& m) {
  py::class_<Net, std::shared_ptr<Net>>(m, "Net")
      .def(py::init(&make_net), py::arg("spec"), py::arg("keep") = "all", py::arg("seed") = 1)
      .def_static("open_bundle", &open_bundle, py::arg("path"), py::arg("train") = false,
                  py::arg("keep") = "all", py::arg("seed") = 1)
      .def("save_bundle", &Net::SaveBundle, ReleaseGil())
      .def("load_weights", &Net::LoadWeights, ReleaseGil())
      .def_property_readonly("name", &Net::name)
      .def_property_readonly(
          "phase", [](const Net& n) { return n.phase() == Phase::kTrain ? "TRAIN" : "TEST"; })
      .def_property_readonly("spec", [](const Net& n) { return value_to(n.spec().to_value()); })
      .def_property(
          "seed", [](const Net& n) { return n.options().seed; }, &Net::set_seed)
      .def_property_readonly(
          "keep", [](const Net& n) { return n.options().keep == Keep::kAll ? "all" : "outputs"; })
      .def("forward", py::overload_cast<>(&Net::Forward), ReleaseGil())
      .def("forward", py::overload_cast<int, int>(&Net::Forward), ReleaseGil())
      .def("backward", py::overload_cast<>(&Net::Backward), ReleaseGil())
      .def("backward", py::overload_cast<int, int>(&Net::Backward), ReleaseGil())
      .def("clear_param_diffs", &Net::ClearParamDiffs, ReleaseGil())
      .def("set_iteration", &Net::set_iteration)
      .def("reshape", &Net::Reshape, ReleaseGil())
      .def("set_timing", &Net::set_timing)
      .def("layer_index", &Net::layer_index)
      .def_property_readonly("layer_count", [](const Net& n) { return n.layers().size(); })
      .def(
          "layer",
          [](const Net& n, size_t i) {
            if (i >= n.layers().size()) throw py::index_error();
            return n.layers()[i].layer.get();
          },
          py::return_value_policy::reference_internal)
      .def("layer_rows", &layer_rows)
      .def("param_ids", [](const Net& n, size_t layer) { return n.layers().at(layer).param_ids; })
      .def("param_rows", &param_rows)
      .def_property_readonly("blob_names", &Net::blob_names)
      .def("blob", &Net::shared_blob)
      .def_property_readonly("inputs", &Net::inputs)
      .def("input_blob", &Net::input_blob)
      .def_property_readonly("outputs", &Net::outputs)
      .def("share_params", [](Net& n, Net& other) { n.ShareParams(&other); })
      .def("set_param",
           [](Net& n, int layer, int index, const FloatArray& values) {
             n.SetParam(layer, index, Shape(values.shape(), values.shape() + values.ndim()),
                        values.data());
           })
      .def("weights_changed", &Net::weights_changed)
      .def("layer_state", &Net::layer_state)
      .def("set_layer_state", &Net::set_layer_state)
      .def_property_readonly("activation_bytes", &Net::activation_bytes)
      .def_property_readonly("arena_size", &Net::arena_size)
      .def("before_forward", [](Net& n, py::function f) { add_hook(&n.before_forward, f); })
      .def("after_forward", [](Net& n, py::function f) { add_hook(&n.after_forward, f); })
      .def("before_backward", [](Net& n, py::function f) { add_hook(&n.before_backward, f); })
      .def("after_backward", [](Net& n, py::function f) { add_hook(&n.after_backward, f); });
}

}  // namespace pydl
