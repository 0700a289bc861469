#include "bindings/bindings.h"
#include "core/resize.h"

namespace pydl {

namespace {

// The memory of a numpy array, held until the last user in C++ drops it.
template <class T>
std::shared_ptr<const T> hold_array(const py::array_t<T, py::array::c_style>& array) {
  return {hold(array), array.data()};
}

Shape shape_of(const py::array& array) {
  return Shape(array.shape(), array.shape() + array.ndim());
}

Shape record_shape(const py::array& images) {
  if (images.ndim() != 4) throw Error("images must have 4 axes: records, channels, rows, columns");
  return Shape(images.shape() + 1, images.shape() + 4);
}

// Names of files need not be UTF-8.
std::string printable(const py::handle& object) {
  const auto bytes = py::reinterpret_steal<py::bytes>(
      PyUnicode_AsEncodedString(py::str(object).ptr(), "utf-8", "backslashreplace"));
  if (!bytes) throw py::error_already_set();
  return bytes;
}

// Calls into Python from any thread. A pydl.errors.Error comes back as pydl::Error, so that the net
// can say in which layer it was.
template <class Call>
auto in_python(const Call& call) {
  py::gil_scoped_acquire gil;
  try {
    return call();
  } catch (py::error_already_set& e) {
    if (!e.matches(py::module_::import("pydl.errors").attr("Error"))) throw;
    throw Error(printable(e.value()));
  }
}

// An image in memory that `owner` keeps.
Record record_of(const py::handle& image, const std::shared_ptr<py::object>& owner) {
  Record record;
  if (py::isinstance<py::array_t<uint8_t, py::array::c_style>>(image)) {
    const auto array = py::reinterpret_borrow<py::array_t<uint8_t, py::array::c_style>>(image);
    record.shape = shape_of(array);
    record.bytes = array.data();
  } else if (py::isinstance<py::array_t<float, py::array::c_style>>(image)) {
    const auto array = py::reinterpret_borrow<py::array_t<float, py::array::c_style>>(image);
    record.shape = shape_of(array);
    record.floats = array.data();
  } else {
    throw Error("a data source gave an image that is no contiguous array of uint8 or float32");
  }
  record.memory = owner;
  return record;
}

// A number, or for an image with boxes an array (boxes, 7): label, instance, x1, y1, x2, y2 and
// difficult.
void set_label(const py::handle& label, Record* record) {
  if (!py::isinstance<py::array>(label)) {
    record->label = label.cast<float>();
    return;
  }
  const auto rows = label.cast<FloatArray>();
  if (rows.ndim() != 2 || rows.shape(1) != 7) throw Error("boxes must have 7 columns");
  record->annotated = true;
  const auto row = rows.unchecked<2>();
  for (py::ssize_t i = 0; i < rows.shape(0); ++i) {
    record->boxes.push_back({static_cast<int32_t>(row(i, 0)), static_cast<int32_t>(row(i, 1)),
                             row(i, 2), row(i, 3), row(i, 4), row(i, 5), row(i, 6) != 0});
  }
}

// Asks Python for each batch: read(numbers) -> images, labels, names, a list each.
class PythonSource final : public DataSource {
 public:
  PythonSource(int64_t size, py::function read) : size_(size), read_(hold(std::move(read))) {}
  int64_t size() const override { return size_; }
  Records Read(const std::vector<int64_t>& numbers) override {
    return in_python([&] {
      const auto result = (*read_)(numbers).cast<py::tuple>();
      const auto images = result[0].cast<py::list>();
      const auto labels = result[1].cast<py::list>();
      auto names = result[2].cast<std::vector<std::string>>();
      const size_t count = numbers.size();
      if (images.size() != count || labels.size() != count || names.size() != count) {
        throw Error("a data source gave " + std::to_string(images.size()) + " images, " +
                    std::to_string(labels.size()) + " labels and " + std::to_string(names.size()) +
                    " names for " + std::to_string(count) + " records");
      }
      Records records = records_from(images, std::vector<float>(count));
      for (size_t i = 0; i < count; ++i) {
        set_label(labels[i], &records[i]);
        records[i].name = std::move(names[i]);
      }
      return records;
    });
  }

 private:
  int64_t size_;
  std::shared_ptr<py::object> read_;
};

// read(rows) -> an array for each column.
class PythonRows final : public RowSource {
 public:
  PythonRows(std::vector<int64_t> file_rows, std::vector<Shape> row_shapes, py::function read)
      : file_rows_(std::move(file_rows)),
        row_shapes_(std::move(row_shapes)),
        read_(hold(std::move(read))) {}
  std::vector<int64_t> file_rows() const override { return file_rows_; }
  std::vector<Shape> row_shapes() const override { return row_shapes_; }
  std::vector<std::vector<float>> Read(const std::vector<int64_t>& rows) override {
    return in_python([&] {
      std::vector<std::vector<float>> columns;
      for (const FloatArray& column : (*read_)(rows).cast<std::vector<FloatArray>>()) {
        columns.emplace_back(column.data(), column.data() + column.size());
      }
      return columns;
    });
  }

 private:
  std::vector<int64_t> file_rows_;
  std::vector<Shape> row_shapes_;
  std::shared_ptr<py::object> read_;
};

// append({name: array})
class PythonSink final : public RowSink {
 public:
  explicit PythonSink(py::object append) : append_(hold(std::move(append))) {}
  void Append(const std::vector<Column>& columns) override {
    in_python([&] {
      py::dict arrays;
      for (const Column& c : columns) {
        arrays[py::str(c.name)] = py::array_t<float>(c.shape, c.values);
      }
      (*append_)(arrays);
    });
  }

 private:
  std::shared_ptr<py::object> append_;
};

py::dict request_dict(const SourceRequest& r) {
  using namespace py::literals;
  return py::dict("layer"_a = r.layer, "source"_a = r.source, "backend"_a = r.backend,
                  "color"_a = r.color, "root_folder"_a = r.root_folder,
                  "new_height"_a = r.new_height, "new_width"_a = r.new_width, "cache"_a = r.cache,
                  "shuffle"_a = r.shuffle, "workers"_a = r.workers, "columns"_a = r.columns);
}

// windows: (N, 7) image, label, overlap, x1, y1, x2, y2
WindowSet window_set(std::shared_ptr<DataSource> images, const py::array_t<double>& windows) {
  WindowSet set;
  set.images = std::move(images);
  const auto w = windows.unchecked<2>();
  if (w.shape(1) != 7) throw Error("windows must have 7 columns");
  const auto integer = [&](py::ssize_t i, py::ssize_t j) { return static_cast<int32_t>(w(i, j)); };
  for (py::ssize_t i = 0; i < w.shape(0); ++i) {
    set.windows.push_back({integer(i, 0), static_cast<float>(w(i, 1)), static_cast<float>(w(i, 2)),
                           integer(i, 3), integer(i, 4), integer(i, 5), integer(i, 6)});
  }
  return set;
}

using SharedSource = std::shared_ptr<DataSource>;

// open(request) -> DataSource; open_windows(request) -> DataSource of images, windows;
// open_rows(request) -> RowSource; open_output(path) -> append({name: array});
// read_mean(path) -> (C, H, W) array; read_label_names(path) -> {label: name};
// change_picture(what, quality, (C, H, W) array) -> such an array.
void set_hooks(py::function open, py::function open_windows, py::function open_rows,
               py::function open_output, py::function read_mean, py::function read_label_names,
               py::function change_picture) {
  DataHooks hooks;
  hooks.open = [f = hold(std::move(open))](const SourceRequest& request) {
    return in_python([&] { return (*f)(request_dict(request)).cast<SharedSource>(); });
  };
  hooks.open_windows = [f = hold(std::move(open_windows))](const SourceRequest& request) {
    return in_python([&] {
      const auto found = (*f)(request_dict(request)).cast<py::tuple>();
      return window_set(found[0].cast<SharedSource>(), found[1].cast<py::array_t<double>>());
    });
  };
  hooks.open_rows = [f = hold(std::move(open_rows))](const SourceRequest& request) {
    return in_python(
        [&] { return (*f)(request_dict(request)).cast<std::shared_ptr<RowSource>>(); });
  };
  hooks.open_output = [f = hold(std::move(open_output))](const std::string& path) {
    return in_python(
        [&]() -> std::shared_ptr<RowSink> { return std::make_shared<PythonSink>((*f)(path)); });
  };
  hooks.read_mean = [f = hold(std::move(read_mean))](const std::string& path, Shape* shape) {
    return in_python([&] {
      const auto mean = (*f)(path).cast<FloatArray>();
      *shape = shape_of(mean);
      return std::vector<float>(mean.data(), mean.data() + mean.size());
    });
  };
  hooks.read_label_names = [f = hold(std::move(read_label_names))](const std::string& path) {
    return in_python([&] { return (*f)(path).cast<std::map<int32_t, std::string>>(); });
  };
  hooks.change_picture = [f = hold(std::move(change_picture))](const std::string& what, int quality,
                                                               const Shape& shape, uint8_t* bytes) {
    in_python([&] {
      using Bytes = py::array_t<uint8_t, py::array::c_style>;
      const auto changed = (*f)(what, quality, Bytes(shape, bytes)).cast<Bytes>();
      if (shape_of(changed) != shape) throw Error(what + " changed the shape of a picture");
      std::copy_n(changed.data(), changed.size(), bytes);
    });
  };
  set_data_hooks(std::move(hooks));
}

// (C, H, W) bytes in another size.
py::array_t<uint8_t> resize(const py::array_t<uint8_t, py::array::c_style>& image, int64_t height,
                            int64_t width) {
  if (image.ndim() != 3 || image.size() == 0) throw Error("resize: an image (C, H, W) is needed");
  if (height < 1 || width < 1) throw Error("resize: height and width must be at least 1");
  const Shape shape = shape_of(image), to{shape[0], height, width};
  shape_count(to);  // within the memory limit
  py::array_t<uint8_t> out(to);
  const uint8_t* x = image.data();
  uint8_t* y = out.mutable_data();
  const py::gil_scoped_release release;
  for (int64_t c = 0; c < shape[0]; ++c) {
    resize_bilinear(shape[1], shape[2], shape[2], x + c * shape[1] * shape[2], height, width,
                    y + c * height * width);
  }
  return out;
}

template <class T>
SharedSource array_source(const py::array_t<T, py::array::c_style>& images,
                          std::vector<float> labels) {
  const Shape shape = record_shape(images);
  if (images.shape(0) != static_cast<py::ssize_t>(labels.size())) {
    throw Error(std::to_string(images.shape(0)) + " images, but " + std::to_string(labels.size()) +
                " labels");
  }
  return std::make_shared<ArraySource>(shape, hold_array(images), std::move(labels));
}

// read(path) -> array
void set_python_blob_reader(py::function read) {
  set_blob_reader([f = hold(std::move(read))](const std::string& path, Shape* shape) {
    return in_python([&] {
      const auto blob = (*f)(path).cast<FloatArray>();
      *shape = shape_of(blob);
      return std::vector<float>(blob.data(), blob.data() + blob.size());
    });
  });
}

}  // namespace

Records records_from(const py::list& images, const std::vector<float>& labels) {
  if (images.size() != labels.size()) {
    throw Error(std::to_string(images.size()) + " images, but " + std::to_string(labels.size()) +
                " labels");
  }
  const std::shared_ptr<py::object> owner = hold(images);
  Records records;
  for (size_t i = 0; i < labels.size(); ++i) {
    records.push_back(record_of(images[i], owner));
    records.back().label = labels[i];
  }
  return records;
}

void bind_data(py::module_& m) {
  py::class_<DataSource, SharedSource>(m, "DataSource");
  py::class_<RowSource, std::shared_ptr<RowSource>>(m, "RowSource");
  m.def("array_source", &array_source<uint8_t>, py::arg("images").noconvert(), py::arg("labels"));
  m.def("array_source", &array_source<float>, py::arg("images"), py::arg("labels"));
  m.def("python_source", [](int64_t size, py::function read) -> SharedSource {
    return std::make_shared<PythonSource>(size, std::move(read));
  });
  m.def("row_source",
        [](std::vector<int64_t> file_rows, std::vector<Shape> row_shapes,
           py::function read) -> std::shared_ptr<RowSource> {
          return std::make_shared<PythonRows>(std::move(file_rows), std::move(row_shapes),
                                              std::move(read));
        });
  m.def("set_data_hooks", &set_hooks);
  m.def("stop_reading_ahead", &stop_reading_ahead, ReleaseGil());
  m.def("resize", &resize, py::arg("image").noconvert(), py::arg("height"), py::arg("width"));
  m.def("set_blob_reader", &set_python_blob_reader);
}

}  // namespace pydl
