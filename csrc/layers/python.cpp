// Python: a layer that a class in Python defines.

#include <algorithm>

#include "core/check.h"
#include "pydl/python_layer.h"

namespace pydl {

namespace {

OpenPythonCode& hook() {
  static OpenPythonCode open;
  return open;
}

}  // namespace

void set_python_hook(OpenPythonCode open) { hook() = std::move(open); }

void PythonLayer::SetUp(const Blobs& bottom, const Blobs& top) {
  const PythonParams& p = params_of();
  check(!p.module.empty() && !p.layer.empty(),
        "python_param: module and layer must be given, got module \"", p.module, "\" and layer \"",
        p.layer, "\"");
  check(context().allow_python, "would run code, class ", p.layer, " of Python module ", p.module,
        ", and this net was opened without leave to: if you trust that code, give "
        "allow_python=True (a command: -allow_python)");
  check(hook() != nullptr, "there is no Python in this program to run class ", p.layer,
        " of module ", p.module);
  code_ = hook()(p, *this);
  code_->SetUp(bottom, top);
}

// Under one name, bottom and top are the same to the class even where the net could not give them
// the same memory.
bool PythonLayer::is_copied(size_t i, const Blobs& bottom, const Blobs& top) const {
  return i < bottom.size() && i < top.size() && spec().bottom[i] == spec().top[i] &&
         bottom[i] != top[i];
}

void PythonLayer::Reshape(const Blobs& bottom, const Blobs& top) {
  for (size_t i = 0; i < top.size(); ++i) {
    if (is_copied(i, bottom, top)) top[i]->ReshapeLike(*bottom[i]);
  }
  code_->Reshape(bottom, top);
  if (has_params_) return;
  for (auto& blob : code_->params()) AddParam(std::move(blob));
  has_params_ = true;
}

void PythonLayer::Forward(const Blobs& bottom, const Blobs& top) {
  for (size_t i = 0; i < top.size(); ++i) {
    if (!is_copied(i, bottom, top)) continue;
    std::copy_n(bottom[i]->data(), bottom[i]->count(), top[i]->mutable_data());
    top[i]->data_tensor().refresh_exposed();
  }
  code_->Forward(bottom, top);
}

void PythonLayer::Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) {
  for (size_t i = 0; i < top.size(); ++i) {
    if (!is_copied(i, bottom, top) || down[i] == Propagate::kNo) continue;
    std::copy_n(top[i]->diff(), top[i]->count(), bottom[i]->mutable_diff());
    bottom[i]->diff_tensor().refresh_exposed();
  }
  std::vector<bool> propagate;
  for (Propagate p : down) propagate.push_back(p != Propagate::kNo);
  code_->Backward(top, propagate, bottom);
}

PYDL_REGISTER_LAYER("Python", PythonLayer,
                    "A layer that a class in Python defines: class `layer` of module `module`, "
                    "with methods setup, reshape, forward and backward as in pycaffe. Nets that "
                    "hold one are refused unless the caller allows it (allow_python).");

}  // namespace pydl
