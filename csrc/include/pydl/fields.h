// Declared parameters: a plain struct lists its members once, and gets from that its reader (with
// checks and messages), its schema for Python's prototxt checks, and its place in docs/layers.md.
//
//   struct EluParams {
//     float alpha = 1;
//     static auto fields() {
//       return Fields("elu_param", Field("alpha", &EluParams::alpha, "limit is -alpha"));
//     }
//   };
//
// A member may be bool, int32_t, uint32_t, int64_t, float, std::string, an enum class (with a
// function enum_names(E) beside it), another such struct, a std::vector of these (a repeated
// field), or a std::optional of these (a field whose absence means something).
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "pydl/error.h"
#include "pydl/value.h"

namespace pydl {

template <class Params, class Member>
struct FieldOf {
  const char* name;
  Member Params::*member;
  const char* help;
  int absent;
};

// absent: what Caffe's classes show, and so Python does, for a std::optional number or enum that is
// not set.
template <class Params, class Member>
constexpr FieldOf<Params, Member> Field(const char* name, Member Params::*member, const char* help,
                                        int absent = 0) {
  return {name, member, help, absent};
}

template <class... F>
struct FieldList {
  const char* name;  // "elu_param": the field of a layer that holds this message
  std::tuple<F...> items;
};

template <class... F>
constexpr FieldList<F...> Fields(const char* name, F... items) {
  return {name, {items...}};
}

struct EnumName {
  const char* name;
  int value;
};

namespace fields_internal {

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

std::string enum_problem(const Value& v, const EnumName* names, size_t count);

template <class T>
void read(const Value& v, T* out);
template <class P>
void read_message(const Value& v, const std::string& name, P* out);
template <class P>
Value schema();
template <class P>
Value write_message(const P& p);

template <class T>
T read_integer(const Value& v) {
  const int64_t x = v.as_int();
  if (x < static_cast<int64_t>(std::numeric_limits<T>::min()) ||
      (sizeof(T) < 8 && x > static_cast<int64_t>(std::numeric_limits<T>::max()))) {
    throw Error(std::to_string(x) + " is out of range");
  }
  return static_cast<T>(x);
}

template <class T>
T read_enum(const Value& v) {
  const auto names = enum_names(T());
  for (const EnumName& e : names) {
    if (v.is_text() ? v.as_text() == e.name : v.is_int() && v.as_int() == e.value) {
      return static_cast<T>(e.value);
    }
  }
  throw Error(enum_problem(v, names.data(), names.size()));
}

template <class T>
void read(const Value& v, T* out) {
  if constexpr (std::is_same_v<T, Value>) {
    *out = v;
  } else if constexpr (IsOptional<T>::value) {
    read(v, &out->emplace());
  } else if constexpr (IsVector<T>::value) {
    const auto add = [&](const Value& item) {
      typename T::value_type element{};
      read(item, &element);
      out->push_back(std::move(element));
    };
    if (!v.is_list()) return add(v);
    for (const Value& item : v.as_list()) add(item);
  } else if constexpr (std::is_same_v<T, bool>) {
    *out = v.as_bool();
  } else if constexpr (std::is_integral_v<T>) {
    *out = read_integer<T>(v);
  } else if constexpr (std::is_floating_point_v<T>) {
    *out = static_cast<T>(v.as_real());
  } else if constexpr (std::is_same_v<T, std::string>) {
    *out = v.as_text();
  } else if constexpr (std::is_enum_v<T>) {
    *out = read_enum<T>(v);
  } else {
    read_message(v, T::fields().name, out);
  }
}

// A field of a struct whose type is not known any more.
struct AnyField {
  const char* name;
  const void* field;  // the FieldOf<P, Member>
  void (*read)(const Value& v, const void* field, void* params);
};

// In core/fields.cpp, which is there once for all structs.
void read_fields(const Value& v, const std::string& message, const AnyField* fields, size_t count,
                 void* params);

template <class P, class Member>
void read_member(const Value& v, const void* field, void* params) {
  Member& member = static_cast<P*>(params)->*static_cast<const FieldOf<P, Member>*>(field)->member;
  if constexpr (IsVector<Member>::value) member.clear();
  read(v, &member);
}

template <class P>
void read_message(const Value& v, const std::string& name, P* out) {
  const auto list = P::fields();
  std::apply(
      [&]<class... Member>(const FieldOf<P, Member>&... f) {
        const std::array<AnyField, sizeof...(Member)> fields{
            AnyField{f.name, &f, &read_member<P, Member>}...};
        read_fields(v, name, fields.data(), fields.size(), out);
      },
      list.items);
}

template <class T>
Value write(const T& x) {
  if constexpr (IsOptional<T>::value) {
    return x ? write(*x) : Value();
  } else if constexpr (IsVector<T>::value) {
    Value::List out;
    for (const typename T::value_type& item : x) out.push_back(write(item));
    return out;
  } else if constexpr (std::is_enum_v<T>) {
    for (const EnumName& e : enum_names(T())) {
      if (e.value == static_cast<int>(x)) return e.name;
    }
    return static_cast<int>(x);
  } else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    return static_cast<int64_t>(x);
  } else if constexpr (std::is_class_v<T> && !std::is_same_v<T, std::string> &&
                       !std::is_same_v<T, Value>) {
    return write_message(x);
  } else {
    return x;
  }
}

template <class P>
Value write_message(const P& p) {
  const P initial;
  Value out = Value::map();
  std::apply(
      [&](const auto&... f) {
        const auto add = [&](const auto& field) {
          Value v = write(p.*field.member);
          if (v.json() != write(initial.*field.member).json()) out[field.name] = std::move(v);
        };
        (add(f), ...);
      },
      P::fields().items);
  return out;
}

// {"name", "type", "repeated", "default", "absent", "help", "enum", "message"} of one field, as
// pydl/prototxt/schema.py reads it. The parts are put together in core/fields.cpp.
void set_type(Value* field, const char* type, Value initial);
void set_enum(Value* field, const EnumName* names, size_t count, int initial);
void set_repeated(Value* field);
void set_message(Value* field, Value message);
void add_field(Value* fields, const char* name, const char* help, Value described);
Value message_schema(const char* name, Value fields);

template <class T>
void describe(const T& initial, Value* out) {
  if constexpr (std::is_same_v<T, Value>) {
    set_type(out, "message", Value());
  } else if constexpr (IsOptional<T>::value) {
    describe(typename T::value_type(), out);
    (*out)["default"] = Value();
  } else if constexpr (IsVector<T>::value) {
    describe(typename T::value_type(), out);
    set_repeated(out);
  } else if constexpr (std::is_same_v<T, bool>) {
    set_type(out, "bool", initial);
  } else if constexpr (std::is_integral_v<T>) {
    set_type(out,
             std::is_same_v<T, uint32_t> ? "uint32"
             : sizeof(T) == 4            ? "int32"
                                         : "int64",
             static_cast<int64_t>(initial));
  } else if constexpr (std::is_floating_point_v<T>) {
    set_type(out, "float", initial);
  } else if constexpr (std::is_same_v<T, std::string>) {
    set_type(out, "string", initial);
  } else if constexpr (std::is_enum_v<T>) {
    const auto names = enum_names(T());
    set_enum(out, names.data(), names.size(), static_cast<int>(initial));
  } else {
    set_message(out, schema<T>());
  }
}

template <class P>
Value schema() {
  const auto list = P::fields();
  const P initial;
  Value fields = Value::List();
  const auto add = [&](const auto& field) {
    Value described = Value::map();
    describe(initial.*field.member, &described);
    if (field.absent != 0) described["absent"] = field.absent;
    add_field(&fields, field.name, field.help, std::move(described));
  };
  std::apply([&](const auto&... f) { (add(f), ...); }, list.items);
  return message_schema(list.name, std::move(fields));
}

}  // namespace fields_internal

// Fills a struct from `v`, a map (or null: all defaults). Throws pydl::Error naming the field.
template <class P>
P read_params(const Value& v) {
  P out;
  if (!v.is_null()) fields_internal::read_message(v, P::fields().name, &out);
  return out;
}

// The other way: the fields that differ from their defaults.
template <class P>
Value params_value(const P& p) {
  return fields_internal::write_message(p);
}

// The schema of a struct, as plain data.
template <class P>
Value params_schema() {
  return fields_internal::schema<P>();
}

}  // namespace pydl
