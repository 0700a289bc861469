// Caffe's debug_info: the mean absolute value of everything, as a net runs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pydl/net.h"

namespace pydl {

// While it is there, tells `tell` a line for each top and parameter after each layer's forward
// pass, and for each gradient after its backward pass, in Caffe's words. Layers then run one by
// one. Where Caffe would copy a blob for each of several readers (Split), the gradient shown is the
// sum so far.
class DebugInfo {
 public:
  using Tell = std::function<void(const std::string& line)>;
  DebugInfo(Net* net, Tell tell);
  ~DebugInfo();
  DebugInfo(const DebugInfo&) = delete;
  DebugInfo& operator=(const DebugInfo&) = delete;

  // The update in the making: before it, and with the steps in the place of the gradients.
  void BeforeUpdate();
  void AfterUpdate();

 private:
  void Forward(int index) const;
  void Backward(int index) const;
  void AllParams() const;
  std::string param_name(const LayerNode& node, size_t i) const;

  Net& net_;
  Tell tell_;
  std::vector<double> before_;  // mean |w| of each param
};

}  // namespace pydl
