#include "bindings/bindings.h"
#include "pydl/memory_data.h"

namespace pydl {

namespace {

py::dict layer_declarations() {
  py::dict out;
  for (const LayerType& type : LayerTypes()) {
    py::dict entry;
    entry["doc"] = type.doc;
    entry["params"] = value_to(type.schemas());
    out[py::str(type.name)] = entry;
  }
  return out;
}

MemoryData& memory_data(Layer& layer) {
  auto* memory = dynamic_cast<MemoryData*>(&layer);
  if (!memory) throw Error("layer \"" + layer.name() + "\" is not a MemoryData layer");
  return *memory;
}

void add_records(Layer& layer, const py::list& images, const std::vector<float>& labels) {
  memory_data(layer).Add(records_from(images, labels));
}

void reset_memory_data(Layer& layer, const FloatArray& data, const FloatArray& labels) {
  MemoryData& memory = memory_data(layer);
  const Shape want = memory.batch_shape();
  if (data.ndim() != 4 || !std::equal(want.begin() + 1, want.end(), data.shape() + 1)) {
    throw Error("layer \"" + layer.name() + "\": the arrays do not have its record shape");
  }
  if (labels.size() != data.shape(0)) {
    throw Error("layer \"" + layer.name() + "\": " + std::to_string(data.shape(0)) +
                " records, but " + std::to_string(labels.size()) + " labels");
  }
  memory.Reset(data.data(), labels.data(), data.shape(0));
}

}  // namespace

void bind_layer(py::module_& m) {
  py::class_<Layer>(m, "Layer")
      .def_property_readonly("name", &Layer::name)
      .def_property_readonly("type", [](const Layer& l) { return l.spec().type; })
      .def_property_readonly("where", [](const Layer& l) { return l.spec().where; })
      .def_property_readonly("spec",
                             [](const Layer& l) { return value_to(params_value(l.spec())); })
      .def_property_readonly("blobs", [](const Layer& l) { return l.params(); })
      .def_property_readonly("implementation", &Layer::implementation)
      .def_property_readonly("python_code", &python_code)
      .def_property_readonly("channels_last",
                             [](const Layer& l) { return l.layout() == Layout::kChannelsLast; })
      .def("set_arrays", &reset_memory_data)
      .def("add_records", &add_records, py::arg("images"), py::arg("labels"),
           "Gives a MemoryData layer images (C, H, W), which its transform_param is applied to.");
  m.def("layer_declarations", &layer_declarations,
        "{type: {'doc': str, 'params': {field: schema}}} of every registered layer.");
}

}  // namespace pydl
