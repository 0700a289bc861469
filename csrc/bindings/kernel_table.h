// Kernels as Python functions of the same arguments, with numpy arrays in the place of pointers and
// of Array (float32, or uint16 for the bits of bfloat16).
#pragma once

#include <limits>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "pydl/array.h"

namespace pydl {

constexpr float kUnbounded = std::numeric_limits<float>::infinity();

// How many elements a kernel reads or writes through one of its pointers.
struct Extent {
  Extent(int64_t elements, bool optional = false) : count(elements), may_be_none(optional) {}
  int64_t count;
  bool may_be_none;
};
inline Extent optional(int64_t count) { return {count, true}; }

// One per pointer in order, or one for all of them.
using Extents = std::vector<Extent>;

// The memory of a C-contiguous array of exactly this type with at least that many elements.
template <class T>
T* array_memory(const py::object& object, const Extent& extent, const std::string& what) {
  using Element = std::remove_const_t<T>;
  if (object.is_none() && extent.may_be_none) return nullptr;
  if (!py::isinstance<py::array_t<Element, py::array::c_style>>(object)) {
    throw Error(what + ": expected a C-contiguous array of " +
                py::str(py::dtype::of<Element>()).cast<std::string>());
  }
  auto array = py::reinterpret_borrow<py::array_t<Element>>(object);
  if (array.size() < extent.count) {
    throw Error(what + ": expected " + std::to_string(extent.count) + " elements, got " +
                std::to_string(array.size()));
  }
  if constexpr (std::is_const_v<T>) {
    return array.data();
  } else {
    return array.mutable_data();  // throws if it is read-only
  }
}

// Of any type of element, with at least so many bytes.
template <class T>
T* bytes_memory(const py::object& object, const Extent& extent, const std::string& what) {
  if (object.is_none() && extent.may_be_none) return nullptr;
  auto array = py::array::ensure(object, py::array::c_style);
  if (!array || !array.is(object) || array.nbytes() < extent.count) {
    throw Error(what + ": expected a C-contiguous array of at least " +
                std::to_string(extent.count) + " bytes");
  }
  if constexpr (std::is_const_v<T>) {
    return static_cast<T*>(array.data());
  } else {
    return static_cast<T*>(array.mutable_data());
  }
}

// As array_memory, of float32, or of uint16: the bits of bfloat16.
template <class A>
A typed_memory(const py::object& object, const Extent& extent, const std::string& what) {
  using Void = decltype(A::data);
  using Bits = std::conditional_t<std::is_same_v<A, Array>, uint16_t, const uint16_t>;
  using Float = std::conditional_t<std::is_same_v<A, Array>, float, const float>;
  if (!py::isinstance<py::array_t<uint16_t>>(object)) {
    return array_memory<Float>(object, extent, what);
  }
  return {static_cast<Void>(array_memory<Bits>(object, extent, what)), DType::kBFloat16};
}

namespace kernel_table_internal {

template <class A>
constexpr bool is_typed = std::is_same_v<A, ConstArray> || std::is_same_v<A, Array>;
template <class A>
constexpr bool is_memory = std::is_pointer_v<A> || is_typed<A>;
template <class A>
using Argument = std::conditional_t<is_memory<A>, py::object, A>;

// The arguments that say how large the arrays must be.
template <class A>
auto sizes_in(const Argument<A>& argument) {
  if constexpr (is_memory<A>) {
    return std::tuple<>();
  } else {
    return std::tuple<const A&>(argument);
  }
}

template <class A>
A pass_on(const Argument<A>& argument, const char* name, const Extents& extents, size_t* pointer) {
  if constexpr (is_memory<A>) {
    const size_t i = (*pointer)++;
    const Extent& extent = extents.size() == 1 ? extents[0] : extents.at(i);
    const std::string what = std::string(name) + ", array " + std::to_string(i);
    if constexpr (is_typed<A>) {
      return typed_memory<A>(argument, extent, what);
    } else if constexpr (std::is_same_v<std::remove_cv_t<std::remove_pointer_t<A>>, std::byte>) {
      return bytes_memory<std::remove_pointer_t<A>>(argument, extent, what);
    } else {
      return array_memory<std::remove_pointer_t<A>>(argument, extent, what);
    }
  } else {
    return argument;
  }
}

}  // namespace kernel_table_internal

// `extents` gets the arguments that are no pointers and returns Extents.
template <class Kernels, class Result, class... A, class GetExtents>
void def_kernel(py::module_& m, const char* name, const Kernels& (*family)(),
                Result (*Kernels::*kernel)(A...), const GetExtents& get_extents) {
  using namespace kernel_table_internal;
  m.def(name, [=](const Argument<A>&... arguments) {
    const Extents extents = std::apply(get_extents, std::tuple_cat(sizes_in<A>(arguments)...));
    size_t pointer = 0;  // braces: arguments are visited from left to right
    const std::tuple<A...> passed{pass_on<A>(arguments, name, extents, &pointer)...};
    py::gil_scoped_release release;
    return std::apply(family().*kernel, passed);
  });
}

// A plain struct of sizes as a class whose constructor takes every field by name.
template <class Shape, class... Member>
void def_shape(py::module_& m, const char* name,
               const std::pair<const char*, Member Shape::*>&... fields) {
  py::class_<Shape>(m, name).def(py::init([=](const py::kwargs& given) {
    if (given.size() != sizeof...(fields)) {
      throw Error(std::string(name) + " takes " + std::to_string(sizeof...(fields)) +
                  " fields, got " + std::to_string(given.size()));
    }
    Shape shape{};
    ((shape.*fields.second = given[fields.first].template cast<Member>()), ...);
    return shape;
  }));
}

template <class Shape, class Member>
std::pair<const char*, Member Shape::*> field(const char* name, Member Shape::*member) {
  return {name, member};
}

}  // namespace pydl
