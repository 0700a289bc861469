#include "bindings/bindings.h"

namespace pydl {

namespace {

py::list handed_out(const Blobs& blobs) {
  py::list out;
  for (Blob* blob : blobs) out.append(blob->shared_from_this());
  return out;
}

// Runs an object with the methods setup, reshape, forward, backward and blobs().
class ObjectCode final : public PythonCode {
 public:
  explicit ObjectCode(py::object object) : object_(hold(std::move(object))) {}
  const py::object& object() const { return *object_; }

  void SetUp(const Blobs& bottom, const Blobs& top) override { Call("setup", bottom, top); }
  void Reshape(const Blobs& bottom, const Blobs& top) override { Call("reshape", bottom, top); }
  void Forward(const Blobs& bottom, const Blobs& top) override { Call("forward", bottom, top); }
  void Backward(const Blobs& top, const std::vector<bool>& down, const Blobs& bottom) override {
    py::gil_scoped_acquire gil;
    object_->attr("backward")(handed_out(top), down, handed_out(bottom));
  }
  std::vector<std::shared_ptr<Blob>> params() const override {
    py::gil_scoped_acquire gil;
    return object_->attr("blobs")().cast<std::vector<std::shared_ptr<Blob>>>();
  }

 private:
  void Call(const char* method, const Blobs& bottom, const Blobs& top) {
    py::gil_scoped_acquire gil;
    object_->attr(method)(handed_out(bottom), handed_out(top));
  }

  std::shared_ptr<py::object> object_;
};

// open(params, layer name, where, phase) -> the object
void set_hook(py::function open) {
  set_python_hook([f = hold(std::move(open))](const PythonParams& params, const Layer& layer) {
    py::gil_scoped_acquire gil;
    py::object object = (*f)(value_to(params_value(params)), layer.name(), layer.spec().where,
                             static_cast<int>(layer.phase()));
    return std::make_unique<ObjectCode>(std::move(object));
  });
}

}  // namespace

py::object python_code(const Layer& layer) {
  const auto* python = dynamic_cast<const PythonLayer*>(&layer);
  const auto* code = python ? dynamic_cast<const ObjectCode*>(&python->code()) : nullptr;
  return code ? code->object() : py::none();
}

void bind_python_layer(py::module_& m) { m.def("set_python_hook", &set_hook); }

}  // namespace pydl
