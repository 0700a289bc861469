#pragma once

namespace pydl {

struct LayerNode;

// Environment variable PYDL_VERBOSE=1: a line on stderr for each layer that runs.
bool verbose();

// pydl forward conv1 Convolution winograd_4x4 float32 channels-last 8x64x56x56 1.48 ms
// 1250.2 GFLOP/s with the next 2: pass, layer, kernel, element type and layout, the top's shape,
// time, speed, and how many layers it did in the same pass.
void report_layer(const char* pass, const LayerNode& node, double ms, double flops);

}  // namespace pydl
