#include "core/verbose.h"

#include <cstdio>
#include <cstdlib>

#include "core/check.h"
#include "pydl/net.h"

namespace pydl {

bool verbose() {
  static const bool on = [] {
    const char* text = std::getenv("PYDL_VERBOSE");
    return text && *text != '\0' && std::string(text) != "0";
  }();
  return on;
}

void report_layer(const char* pass, const LayerNode& node, double ms, double flops) {
  const Layer& layer = *node.layer;
  const std::string kernel = layer.implementation();
  std::string line = text("pydl ", pass, " ", layer.name(), " ", layer.spec().type, " ",
                          kernel.empty() ? "-" : kernel, " ",
                          layer.format().dtype == DType::kBFloat16 ? "bfloat16" : "float32", " ",
                          layer.layout() == Layout::kChannelsLast ? "channels-last" : "plain", " ",
                          node.top.empty() ? "-" : shape_text(node.top[0]->shape()));
  char numbers[80];
  std::snprintf(numbers, sizeof numbers, " %.3f ms", ms);
  line += numbers;
  if (flops > 0 && ms > 0) {
    std::snprintf(numbers, sizeof numbers, " %.1f GFLOP/s", flops / ms / 1e6);
    line += numbers;
  }
  if (node.chained) line += text(" with the next ", node.chain.size());
  std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace pydl
