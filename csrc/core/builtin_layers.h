#pragma once

namespace pydl {

// Does nothing; calling it makes the linker keep every layer of csrc/layers.
void keep_builtin_layers();

}  // namespace pydl
