#include "pydl/fields.h"

#include <algorithm>

#include "core/check.h"

namespace pydl::fields_internal {

namespace {

void read_field(const AnyField& field, const Value& v, const std::string& message, void* params) {
  try {
    field.read(v, field.field, params);
  } catch (const Error& e) {
    fail(message, ".", field.name, ": ", e.what());
  }
}

}  // namespace

void read_fields(const Value& v, const std::string& message, const AnyField* fields, size_t count,
                 void* params) {
  const AnyField* end = fields + count;
  for (const auto& [key, value] : v.as_map()) {
    const AnyField* field =
        std::find_if(fields, end, [&key = key](const AnyField& f) { return key == f.name; });
    if (field == end) {
      std::vector<std::string> known;
      for (const AnyField* f = fields; f != end; ++f) known.push_back(f->name);
      fail("unknown field \"", key, "\" in ", message, did_you_mean(key, known));
    }
    read_field(*field, value, message, params);
  }
}

std::string enum_problem(const Value& v, const EnumName* names, size_t count) {
  std::string list;
  std::vector<std::string> known;
  for (size_t i = 0; i < count; ++i) {
    list += (i ? ", " : "") + std::string(names[i].name);
    known.push_back(names[i].name);
  }
  const std::string got = v.is_text()  ? "\"" + v.as_text() + "\""
                          : v.is_int() ? std::to_string(v.as_int())
                                       : v.type_text();
  return got + " is not one of " + list + (v.is_text() ? did_you_mean(v.as_text(), known) : "");
}

void set_type(Value* field, const char* type, Value initial) {
  (*field)["type"] = type;
  (*field)["default"] = std::move(initial);
}

void set_enum(Value* field, const EnumName* names, size_t count, int initial) {
  Value values = Value::map();
  (*field)["type"] = "enum";
  for (size_t i = 0; i < count; ++i) {
    values[names[i].name] = names[i].value;
    if (names[i].value == initial) (*field)["default"] = names[i].name;
  }
  (*field)["enum"] = std::move(values);
}

void set_repeated(Value* field) {
  (*field)["repeated"] = true;
  (*field)["default"] = Value();
}

void set_message(Value* field, Value message) {
  set_type(field, "message", Value());
  (*field)["message"] = std::move(message);
}

void add_field(Value* fields, const char* name, const char* help, Value described) {
  Value field{{"name", name}, {"type", ""}, {"repeated", false}, {"help", help}};
  for (auto& [key, value] : described.as_map()) field[key] = std::move(value);
  fields->push_back(std::move(field));
}

Value message_schema(const char* name, Value fields) {
  return Value{{"name", name}, {"fields", std::move(fields)}};
}

}  // namespace pydl::fields_internal
