#include "bindings/bindings.h"

namespace pydl {

namespace {

// The sizes of an image blob by name, as Caffe's first blobs had them: 1 for axes that are missing.
int64_t legacy_shape(const Blob& blob, int axis) {
  if (blob.axes() > 4) {
    throw Error("num, channels, height and width are for blobs of up to 4 axes; this one has " +
                std::to_string(blob.axes()) + ": use shape");
  }
  return axis < blob.axes() ? blob.shape(axis) : 1;
}

}  // namespace

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
      .def_property_readonly("num", [](const Blob& b) { return legacy_shape(b, 0); })
      .def_property_readonly("channels", [](const Blob& b) { return legacy_shape(b, 1); })
      .def_property_readonly("height", [](const Blob& b) { return legacy_shape(b, 2); })
      .def_property_readonly("width", [](const Blob& b) { return legacy_shape(b, 3); })
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
