// pydl._core.kernels: the kernels on numpy arrays, for tests and benchmarks of single operations.

#include "bindings/bindings.h"
#include "kernels/isa.h"

namespace pydl {

void bind_kernels(py::module_& parent) {
  py::module_ m = parent.def_submodule("kernels", "Kernels on numpy arrays.");
  m.def("isa", [] { return kernels::isa_name(kernels::isa()); });
  m.def("set_isa", [](const std::string& name) { kernels::set_isa(kernels::isa_from_name(name)); });
  m.def("available_isas", [] {
    std::vector<std::string> names;
    for (kernels::Isa isa : kernels::available_isas()) names.push_back(kernels::isa_name(isa));
    return names;
  });
  bind_gemm_kernels(m);
  bind_conv_kernels(m);
  bind_attention_kernels(m);
  bind_kernel_families(m);
}

}  // namespace pydl
