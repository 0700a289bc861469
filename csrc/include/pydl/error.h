#pragma once

#include <stdexcept>
#include <string>

namespace pydl {

// What the library throws for bad input. The message says where, what is wrong with which values,
// and the way out. Python sees it as pydl.Error. One type in all libraries of a program, whatever
// visibility they are compiled with.
class [[gnu::visibility("default")]] Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace pydl
