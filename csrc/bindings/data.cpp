#include "bindings/bindings.h"

namespace pydl {

namespace {

// The memory of a numpy array, held until the last user in C++ drops it.
template <class T>
std::shared_ptr<const T> hold_array(const py::array_t<T, py::array::c_style>& array) {
  return {hold(array), array.data()};
}

Shape record_shape(const py::array& images) {
  if (images.ndim() != 4) throw Error("images must have 4 axes: records, channels, rows, columns");
  return Shape(images.shape() + 1, images.shape() + 4);
}

// A source that asks Python for each batch: read(indices) -> (images, labels).
class PythonSource final : public DataSource {
 public:
  PythonSource(int64_t size, Shape shape, py::function read)
      : size_(size), shape_(std::move(shape)), read_(hold(std::move(read))) {}
  int64_t size() const override { return size_; }
  Shape record_shape() const override { return shape_; }
  void Read(const int64_t* indices, int64_t count, float* images, float* labels) override {
    py::gil_scoped_acquire gil;
    const auto result = (*read_)(std::vector<int64_t>(indices, indices + count)).cast<py::tuple>();
    const auto x = result[0].cast<FloatArray>(), y = result[1].cast<FloatArray>();
    if (x.size() != count * shape_count(shape_) || y.size() != count) {
      throw Error("a data source gave " + std::to_string(x.size()) + " values and " +
                  std::to_string(y.size()) + " labels for " + std::to_string(count) + " records");
    }
    std::copy_n(x.data(), x.size(), images);
    std::copy_n(y.data(), count, labels);
  }

 private:
  int64_t size_;
  Shape shape_;
  std::shared_ptr<py::object> read_;
};

// open(source, backend) -> DataSource; read_mean(path) -> (C, H, W) array.
void set_hooks(py::function open, py::function read_mean) {
  DataHooks hooks;
  hooks.open = [f = hold(std::move(open))](const std::string& source, const std::string& backend) {
    py::gil_scoped_acquire gil;
    return (*f)(source, backend).cast<std::shared_ptr<DataSource>>();
  };
  hooks.read_mean = [f = hold(std::move(read_mean))](const std::string& path, Shape* shape) {
    py::gil_scoped_acquire gil;
    const auto mean = (*f)(path).cast<FloatArray>();
    shape->assign(mean.shape(), mean.shape() + mean.ndim());
    return std::vector<float>(mean.data(), mean.data() + mean.size());
  };
  set_data_hooks(std::move(hooks));
}

// read(path) -> array
void set_python_blob_reader(py::function read) {
  set_blob_reader([f = hold(std::move(read))](const std::string& path, Shape* shape) {
    py::gil_scoped_acquire gil;
    const auto blob = (*f)(path).cast<FloatArray>();
    shape->assign(blob.shape(), blob.shape() + blob.ndim());
    return std::vector<float>(blob.data(), blob.data() + blob.size());
  });
}

}  // namespace

void bind_data(py::module_& m) {
  py::class_<DataSource, std::shared_ptr<DataSource>>(m, "DataSource");
  m.def(
      "array_source",
      [](const py::array_t<uint8_t, py::array::c_style>& images, std::vector<float> labels) {
        return std::static_pointer_cast<DataSource>(std::make_shared<ArraySource>(
            record_shape(images), hold_array(images), std::move(labels)));
      },
      py::arg("images").noconvert(), py::arg("labels"));
  m.def(
      "array_source",
      [](const py::array_t<float, py::array::c_style>& images, std::vector<float> labels) {
        return std::static_pointer_cast<DataSource>(std::make_shared<ArraySource>(
            record_shape(images), hold_array(images), std::move(labels)));
      },
      py::arg("images"), py::arg("labels"));
  m.def("python_source", [](int64_t size, Shape shape, py::function read) {
    return std::static_pointer_cast<DataSource>(
        std::make_shared<PythonSource>(size, std::move(shape), std::move(read)));
  });
  m.def("set_data_hooks", &set_hooks);
  m.def("set_blob_reader", &set_python_blob_reader);
}

}  // namespace pydl
