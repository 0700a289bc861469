// C3D's ways to say the window of a layer over (N, C, length, height, width): kernel_size, stride
// and pad for height and width; kernel_depth, temporal_stride and temporal_pad for the length.
#pragma once

#include "pydl/fields.h"

namespace pydl {

// The layer's parameters, or those of the same fields under C3D's name for the message.
template <class P>
Value video_schemas(const char* name) {
  Value out = Value::map();
  out[P::fields().name] = params_schema<P>();
  out[name] = params_schema<P>();
  return out;
}

// What the layer without "3D" is to read. In C3D what is not said about the length is 1, 1 and 0.
template <class P>
Value video_params(const Value& params, const char* name) {
  const char* own_name = P::fields().name;
  const Value *own = params.find(own_name), *video = params.find(name);
  if (own && video)
    throw Error(std::string("give either ") + own_name + " or " + name + ", not both");
  P p = read_params<P>(own ? *own : video ? *video : Value());
  if (!p.kernel_depth && p.kernel_size.size() < 3) p.kernel_depth = 1;
  if (!p.temporal_stride && p.stride.size() < 3) p.temporal_stride = 1;
  if (!p.temporal_pad && p.pad.size() < 3) p.temporal_pad = 0;
  Value out = Value::map();
  out[own_name] = params_value(p);
  return out;
}

}  // namespace pydl
