// Building error messages: fail("kernel_size ", k, " is larger than ...") and friends.
#pragma once

#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "pydl/error.h"

namespace pydl {

// Joins the parts as operator<< prints them.
template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(text(parts...));
}

// Throws Error(parts...) unless `ok`.
template <class... Parts>
void check(bool ok, const Parts&... parts) {
  if (!ok) fail(parts...);
}

// "2x3x4", or "scalar" for no axes.
std::string shape_text(const std::vector<int64_t>& shape);

// The nearest of `names` to a misspelt `name` in quotes with ", did you mean", or "".
std::string did_you_mean(const std::string& name, const std::vector<std::string>& names);

}  // namespace pydl
