#include "bindings/bindings.h"

namespace pydl {

py::array view_array(const ArrayView& view) {
  auto* keep = new std::shared_ptr<std::byte>(view.memory);
  const py::capsule owner(keep,
                          [](void* p) { delete static_cast<std::shared_ptr<std::byte>*>(p); });
  std::vector<py::ssize_t> strides;
  for (int64_t stride : view.strides) strides.push_back(stride * sizeof(float));
  return py::array_t<float>(view.shape, strides, view.data, owner);
}

void bind_blob(py::module_& m) {
  py::class_<Blob, std::shared_ptr<Blob>>(m, "Blob")
      .def(py::init([](const py::args& dims) { return std::make_shared<Blob>(shape_from(dims)); }))
      .def_property_readonly("shape", [](const Blob& b) { return py::tuple(py::cast(b.shape())); })
      .def_property_readonly("count", [](const Blob& b) { return b.count(); })
      .def("reshape", [](Blob& b, const py::args& dims) { b.Reshape(shape_from(dims)); })
      .def_property_readonly(
          "data",
          [](const Blob& b) { return view_array(b.data_tensor().expose(b.layout(), b.shape())); },
          "float32 numpy view in (N, C, ...) order; writing to it changes the blob.")
      .def_property_readonly(
          "diff",
          [](const Blob& b) { return view_array(b.diff_tensor().expose(b.layout(), b.shape())); },
          "The gradient, as `data`.")
      .def_property_readonly("channels_last",
                             [](const Blob& b) { return b.layout() == Layout::kChannelsLast; });
}

}  // namespace pydl
