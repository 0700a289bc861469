// A layer written in Python: public because whoever has an interpreter runs its code.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pydl/layer.h"

namespace pydl {

struct PythonParams {
  std::string module, layer, param_str;
  bool share_in_parallel = false;

  static auto fields() {
    using P = PythonParams;
    return Fields("python_param",
                  Field("module", &P::module, "module that holds the class; required"),
                  Field("layer", &P::layer, "name of the class; required"),
                  Field("param_str", &P::param_str, "text for the class to read"),
                  Field("share_in_parallel", &P::share_in_parallel,
                        "one object for several trainers; without effect here"));
  }
};

// What a class in Python does, called as the methods of Layer are.
class PythonCode {
 public:
  virtual ~PythonCode() = default;
  virtual void SetUp(const Blobs& bottom, const Blobs& top) = 0;
  virtual void Reshape(const Blobs& bottom, const Blobs& top) = 0;
  virtual void Forward(const Blobs& bottom, const Blobs& top) = 0;
  virtual void Backward(const Blobs& top, const std::vector<bool>& down, const Blobs& bottom) = 0;
  // Learnable blobs it has made so far.
  virtual std::vector<std::shared_ptr<Blob>> params() const = 0;
};

// Finds the class and makes an object of it. pydl's Python package sets this; a C++ program with an
// interpreter of its own may do so, before it builds a net with a Python layer.
using OpenPythonCode =
    std::function<std::unique_ptr<PythonCode>(const PythonParams& params, const Layer& layer)>;
void set_python_hook(OpenPythonCode open);

// Any number of bottoms and tops; their shapes and the learnable blobs are up to the class.
class PythonLayer final : public LayerOf<PythonParams> {
 public:
  Arity bottoms() const override { return {0, -1}; }
  Arity tops() const override { return {0, -1}; }
  bool in_place() const override { return true; }
  TopUse backward_reads_top() const override { return TopUse::kData; }
  // Caffe does, and code that loads its data in reshape() relies on it.
  bool reshapes_each_pass() const override { return true; }
  bool hands_out_blobs() const override { return true; }

  void SetUp(const Blobs& bottom, const Blobs& top) override;
  void Reshape(const Blobs& bottom, const Blobs& top) override;
  void Forward(const Blobs& bottom, const Blobs& top) override;
  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override;

  const PythonCode& code() const { return *code_; }

 private:
  bool is_copied(size_t i, const Blobs& bottom, const Blobs& top) const;

  std::unique_ptr<PythonCode> code_;
  bool has_params_ = false;  // they are all there
};

}  // namespace pydl
