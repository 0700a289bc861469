// Base of the elementwise layers whose backward pass reads their input.
#pragma once

#include "pydl/layer.h"

namespace pydl {

// In place they overwrite what their backward pass reads. In TRAIN, the net therefore gives the top
// memory of its own. In TEST they do work in place, and a backward pass (force_backward) is
// Caffe's, which takes the output for the input.
template <class... P>
class OverwritingLayer : public NeuronLayer<P...> {
 public:
  bool in_place() const override { return this->phase() == Phase::kTest; }
};

}  // namespace pydl
