// pydl._core: the C++ core for Python. pydl/*.py are what users see.

#include "bindings/bindings.h"
#include "pydl/error.h"
#include "pydl/threads.h"

namespace pydl {

Value value_from(const py::handle& object) {
  if (object.is_none()) return {};
  if (py::isinstance<py::bool_>(object)) return object.cast<bool>();
  if (py::isinstance<py::int_>(object)) return object.cast<int64_t>();
  if (py::isinstance<py::float_>(object)) return object.cast<double>();
  if (py::isinstance<py::str>(object)) return object.cast<std::string>();
  if (py::isinstance<py::bytes>(object)) return std::string(object.cast<py::bytes>());
  if (py::isinstance<py::dict>(object)) {
    Value::Map map;
    for (const auto& [key, item] : object.cast<py::dict>()) {
      map.emplace_back(key.cast<std::string>(), value_from(item));
    }
    return map;
  }
  if (py::isinstance<py::sequence>(object)) {
    Value::List list;
    for (const auto& item : object.cast<py::sequence>()) list.push_back(value_from(item));
    return list;
  }
  if (PyIndex_Check(object.ptr()))
    return py::int_(py::reinterpret_borrow<py::object>(object)).cast<int64_t>();
  if (PyNumber_Check(object.ptr()))
    return py::float_(py::reinterpret_borrow<py::object>(object)).cast<double>();
  throw Error("cannot pass a " + py::str(py::type::of(object)).cast<std::string>() +
              " on; expected numbers, text, lists and dicts");
}

py::object value_to(const Value& value) {
  if (value.is_bool()) return py::bool_(value.as_bool());
  if (value.is_int()) return py::int_(value.as_int());
  if (value.is_real()) return py::float_(value.as_real());
  if (value.is_text()) return py::str(value.as_text());
  if (value.is_list()) {
    py::list out;
    for (const Value& item : value.as_list()) out.append(value_to(item));
    return out;
  }
  if (value.is_map()) {
    py::dict out;
    for (const auto& [key, item] : value.as_map()) out[py::str(key)] = value_to(item);
    return out;
  }
  return py::none();
}

Shape shape_from(const py::args& dims) {
  if (dims.size() == 1 && py::isinstance<py::sequence>(dims[0])) return dims[0].cast<Shape>();
  return dims.cast<Shape>();
}

std::shared_ptr<py::object> hold(py::object object) {
  return {new py::object(std::move(object)), [](py::object* held) {
            if (!Py_IsInitialized()) return;  // a static outlived the interpreter: nothing to free
            py::gil_scoped_acquire gil;
            delete held;
          }};
}

namespace {

void translate(std::exception_ptr pointer) {
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const Error& e) {
    const py::object type = py::module_::import("pydl.errors").attr("Error");
    py::set_error(type, e.what());
  }
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ core of pydl.";
  py::register_exception_translator(translate);
  bind_blob(m);
  bind_layer(m);
  bind_python_layer(m);
  bind_net(m);
  bind_solver(m);
  bind_data(m);
  bind_kernels(m);
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads);
  m.def("memory_limit", &memory_limit);
  m.def("set_memory_limit", &set_memory_limit);
}

}  // namespace pydl
