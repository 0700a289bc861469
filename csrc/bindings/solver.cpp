#include <algorithm>

#include "bindings/bindings.h"
#include "core/debug_info.h"

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

// A Python function of a line, to be called without the GIL; null for None.
DebugInfo::Tell tell_from(const py::object& function) {
  if (function.is_none()) return nullptr;
  return [f = hold(function)](const std::string& line) {
    py::gil_scoped_acquire gil;
    (*f)(line);
  };
}

// DebugInfo for the time of a Python `with` block.
struct DebugScope {
  std::shared_ptr<Net> net;
  DebugInfo::Tell tell;
  std::unique_ptr<DebugInfo> info;
};

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
                std::to_string(params.size() * history.size()) + " (type \"" + solver.spec().type +
                "\", " + std::to_string(params.size()) +
                " parameters): resume with the net and the type it was saved by");
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
      .def_property_readonly("momentum", &Solver::momentum)
      .def_property("base_lr", &Solver::base_lr, &Solver::set_base_lr)
      .def("add_callback",
           [](Solver& s, py::function on_start, py::function on_gradients_ready) {
             s.on_start.push_back(callback(std::move(on_start)));
             s.on_gradients_ready.push_back(callback(std::move(on_gradients_ready)));
           })
      .def_property("iter", &Solver::iter, &Solver::set_iter)
      .def_property("current_step", &Solver::current_step, &Solver::set_current_step)
      .def_readwrite("stop_on_nan", &Solver::stop_on_nan)
      .def("set_debug", [](Solver& s, const py::object& f) { s.debug = tell_from(f); })
      .def("observe", &Solver::Observe)
      .def_property_readonly("should_stop", &Solver::should_stop)
      .def_property(
          "watch", [](const Solver& s) { return value_to(params_value(s.watch())); },
          [](Solver& s, const py::dict& d) { s.set_watch(read_params<ScoreWatch>(value_from(d))); })
      .def_property_readonly("has_average", &Solver::has_average)
      .def("swap_average", &Solver::SwapAverage)
      .def("set_average", &Solver::SetAverage)
      .def("forget_average", &Solver::ForgetAverage)
      .def("history", &get_history)
      .def("set_history", &set_history)
      .def("snapshot", &Solver::Snapshot, ReleaseGil())
      .def("restore", &Solver::Restore, ReleaseGil());
  py::class_<DebugScope>(m, "DebugInfo", "Within the block, `tell` gets Caffe's debug_info lines.")
      .def(py::init([](std::shared_ptr<Net> net, const py::object& tell) {
        return DebugScope{std::move(net), tell_from(tell), nullptr};
      }))
      .def("__enter__",
           [](DebugScope& s) { s.info = std::make_unique<DebugInfo>(s.net.get(), s.tell); })
      .def("__exit__", [](DebugScope& s, const py::args&) { s.info.reset(); });
  m.def("solver_fields", &solver_fields, "SolverParameter fields that the core reads.");
}

}  // namespace pydl
