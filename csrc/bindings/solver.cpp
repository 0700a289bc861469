#include <algorithm>

#include "bindings/bindings.h"

namespace pydl {

namespace {

std::vector<std::string> solver_fields() {
  std::vector<std::string> names;
  std::apply([&](const auto&... f) { (names.push_back(f.name), ...); }, SolverSpec::fields().items);
  return names;
}

std::shared_ptr<Solver> make_solver(const py::dict& spec, std::shared_ptr<Net> net) {
  return std::make_shared<Solver>(read_params<SolverSpec>(value_from(spec)), std::move(net));
}

// Copies of the update history: for each array, one per parameter, in Net::params() order.
py::list get_history(Solver& solver) {
  py::list out;
  for (const float* array : solver.history()) {
    for (const NetParam& param : solver.net().params()) {
      py::array_t<float> copy(param.blob->shape());
      std::copy_n(array + param.offset, param.blob->count(), copy.mutable_data());
      out.append(copy);
    }
  }
  return out;
}

void set_history(Solver& solver, const std::vector<FloatArray>& arrays) {
  const auto& params = solver.net().params();
  const std::vector<float*> history = solver.history();
  if (arrays.size() != params.size() * history.size()) {
    throw Error("the solver state holds " + std::to_string(arrays.size()) +
                " history blobs, but this solver and net need " +
                std::to_string(params.size() * history.size()));
  }
  for (const bool write : {false, true}) {  // all is checked before anything is changed
    for (size_t i = 0; i < arrays.size(); ++i) {
      const NetParam& param = params[i % params.size()];
      if (arrays[i].size() != param.blob->count()) {
        throw Error("history blob " + std::to_string(i) + " of the solver state has " +
                    std::to_string(arrays[i].size()) + " values, but the parameter has " +
                    std::to_string(param.blob->count()));
      }
      if (write) {
        std::copy_n(arrays[i].data(), param.blob->count(),
                    history[i / params.size()] + param.offset);
      }
    }
  }
}

}  // namespace

namespace {

std::function<void()> callback(py::function function) {
  return [f = hold(std::move(function))] {
    py::gil_scoped_acquire gil;
    (*f)();
  };
}

}  // namespace

void bind_solver(py::module_& m) {
  py::class_<Solver, std::shared_ptr<Solver>>(m, "Solver")
      .def(py::init(&make_solver))
      .def("step", &Solver::Step, ReleaseGil())
      .def("apply_update", &Solver::ApplyUpdate, ReleaseGil())
      .def_property_readonly("net", &Solver::shared_net)
      .def_property_readonly("lr", &Solver::lr)
      .def_property("base_lr", &Solver::base_lr, &Solver::set_base_lr)
      .def("add_callback",
           [](Solver& s, py::function on_start, py::function on_gradients_ready) {
             s.on_start.push_back(callback(std::move(on_start)));
             s.on_gradients_ready.push_back(callback(std::move(on_gradients_ready)));
           })
      .def_property("iter", &Solver::iter, &Solver::set_iter)
      .def_property("current_step", &Solver::current_step, &Solver::set_current_step)
      .def_readwrite("stop_on_nan", &Solver::stop_on_nan)
      .def("history", &get_history)
      .def("set_history", &set_history)
      .def("snapshot", &Solver::Snapshot, ReleaseGil())
      .def("restore", &Solver::Restore, ReleaseGil());
  m.def("solver_fields", &solver_fields, "SolverParameter fields that the core reads.");
}

}  // namespace pydl
