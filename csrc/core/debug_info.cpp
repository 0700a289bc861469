#include "core/debug_info.h"

#include <cmath>
#include <sstream>

#include "kernels/eltwise.h"

namespace pydl {

namespace {

double mean(const Blob& blob, ConstArray values) {
  return kernels::eltwise_kernels().asum(blob.count(), values) / static_cast<double>(blob.count());
}

double data_mean(const Blob& blob) { return mean(blob, blob.data(blob.format())); }
double diff_mean(const Blob& blob) { return mean(blob, blob.diff(blob.format())); }

template <class... T>
std::string line(const char* pass, const T&... parts) {
  std::ostringstream out;
  out << "    [" << pass << "] ";
  (out << ... << parts);
  return out.str();
}

}  // namespace

DebugInfo::DebugInfo(Net* net, Tell tell) : net_(*net), tell_(std::move(tell)) {
  net_.after_forward.push_back([this](int i) { Forward(i); });
  net_.after_backward.push_back([this](int i) { Backward(i); });
}

DebugInfo::~DebugInfo() {
  net_.after_forward.pop_back();
  net_.after_backward.pop_back();
}

std::string DebugInfo::param_name(const LayerNode& node, size_t i) const {
  const std::string& name = net_.params()[node.param_ids[i]].name;
  return name.empty() ? std::to_string(i) : name;
}

void DebugInfo::Forward(int index) const {
  const LayerNode& node = net_.layers()[index];
  const std::string& layer = node.layer->name();
  for (size_t t = 0; t < node.top.size(); ++t) {
    tell_(line("Forward", "Layer ", layer, ", top blob ", node.top_names[t],
               " data: ", data_mean(*node.top[t])));
  }
  for (size_t i = 0; i < node.param_ids.size(); ++i) {
    tell_(line("Forward", "Layer ", layer, ", param blob ", param_name(node, i),
               " data: ", data_mean(*node.layer->params()[i])));
  }
}

void DebugInfo::Backward(int index) const {
  const LayerNode& node = net_.layers()[index];
  const std::string& layer = node.layer->name();
  for (size_t b = 0; node.needs_backward && b < node.bottom.size(); ++b) {
    if (node.down[b] == Propagate::kNo) continue;
    tell_(line("Backward", "Layer ", layer, ", bottom blob ", node.bottom_names[b],
               " diff: ", diff_mean(*node.bottom[b])));
  }
  for (size_t i = 0; node.needs_backward && i < node.param_ids.size(); ++i) {
    if (!node.layer->param_propagate(i)) continue;
    tell_(line("Backward", "Layer ", layer, ", param blob ", i,
               " diff: ", diff_mean(*node.layer->params()[i])));
  }
  if (index == 0) AllParams();
}

void DebugInfo::AllParams() const {
  const auto& kernels = kernels::eltwise_kernels();
  double sums[2] = {}, squares[2] = {};
  for (const NetParam& param : net_.params()) {
    const float* arrays[2] = {param.blob->data(), param.blob->diff()};
    for (int i = 0; i < 2; ++i) {
      sums[i] += kernels.asum(param.blob->count(), arrays[i]);
      squares[i] += kernels.sumsq(param.blob->count(), arrays[i]);
    }
  }
  tell_(line("Backward", "All net params (data, diff): L1 norm = (", sums[0], ", ", sums[1],
             "); L2 norm = (", std::sqrt(squares[0]), ", ", std::sqrt(squares[1]), ")"));
}

void DebugInfo::BeforeUpdate() {
  before_.clear();
  for (const NetParam& param : net_.params()) before_.push_back(data_mean(*param.blob));
}

void DebugInfo::AfterUpdate() {
  for (size_t i = 0; i < before_.size(); ++i) {
    const NetParam& param = net_.params()[i];
    const LayerNode& owner = net_.layers()[param.layer];
    tell_(line("Update", "Layer ", owner.layer->name(), ", param ", param_name(owner, param.index),
               " data: ", before_[i], "; diff: ", diff_mean(*param.blob)));
  }
}

}  // namespace pydl
