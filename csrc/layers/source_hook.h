// What data layers say where nobody told the core how to open their sources.
#pragma once

#include <string>

#include "core/check.h"
#include "pydl/data.h"

namespace pydl {

// hook: the one of data_hooks() that would open `source`.
template <class Hook>
const Hook& checked_hook(const Hook& hook, const std::string& source) {
  check(hook != nullptr, "source \"", source,
        "\": nothing can open it; a C++ program calls set_data_hooks (pydl/data.h) first");
  return hook;
}

}  // namespace pydl
