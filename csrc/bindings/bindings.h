#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "pydl/pydl.h"

namespace pydl {

namespace py = pybind11;

using FloatArray = py::array_t<float, py::array::c_style | py::array::forcecast>;
using ReleaseGil = py::call_guard<py::gil_scoped_release>;

// Plain data both ways: None, bool, int, float, str, list or tuple, dict.
Value value_from(const py::handle& object);
py::object value_to(const Value& value);

// Images, arrays (C, H, W) of uint8 or float32, as records that keep them alive.
Records records_from(const py::list& images, const std::vector<float>& labels);

// A numpy view that keeps the memory alive by itself.
py::array view_array(const ArrayView& view);

Shape shape_from(const py::args& dims);

// A Python object that C++ may copy and drop without the GIL.
std::shared_ptr<py::object> hold(py::object object);

// The object that runs a Python layer, None for another layer.
py::object python_code(const Layer& layer);

void bind_blob(py::module_& m);
void bind_layer(py::module_& m);
void bind_python_layer(py::module_& m);
void bind_net(py::module_& m);
void bind_solver(py::module_& m);
void bind_data(py::module_& m);
void bind_kernels(py::module_& m);
void bind_gemm_kernels(py::module_& m);
void bind_conv_kernels(py::module_& m);
void bind_attention_kernels(py::module_& m);
void bind_kernel_families(py::module_& m);

}  // namespace pydl
