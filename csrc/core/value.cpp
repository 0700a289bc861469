#include "pydl/value.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/check.h"

namespace pydl {

namespace {

using Json = nlohmann::ordered_json;

Json to_json(const Value& v) {
  if (v.is_bool()) return v.as_bool();
  if (v.is_int()) return v.as_int();
  if (v.is_real()) {
    const double x = v.as_real();
    if (std::isnan(x)) return "nan";
    if (std::isinf(x)) return x > 0 ? "inf" : "-inf";
    return x;
  }
  if (v.is_text()) return v.as_text();
  if (v.is_list()) {
    Json out = Json::array();
    for (const Value& item : v.as_list()) out.push_back(to_json(item));
    return out;
  }
  if (v.is_map()) {
    Json out = Json::object();
    for (const auto& [key, item] : v.as_map()) out[key] = to_json(item);
    return out;
  }
  return nullptr;
}

Value from(const Json& j) {
  switch (j.type()) {
    case Json::value_t::boolean:
      return j.get<bool>();
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return j.get<int64_t>();
    case Json::value_t::number_float:
      return j.get<double>();
    case Json::value_t::string:
      return j.get<std::string>();
    case Json::value_t::array: {
      Value::List out;
      for (const Json& item : j) out.push_back(from(item));
      return out;
    }
    case Json::value_t::object: {
      Value::Map out;
      for (const auto& [key, item] : j.items()) out.emplace_back(key, from(item));
      return out;
    }
    default:
      return {};
  }
}

}  // namespace

Value::Value(const Value& v) = default;
Value::Value(Value&& v) noexcept = default;
Value& Value::operator=(const Value& v) = default;
Value& Value::operator=(Value&& v) noexcept = default;
Value::~Value() = default;
Value::Value(const char* v) : data_(std::string(v)) {}

Value::Value(std::initializer_list<std::pair<const char*, Value>> entries) {
  Map map;
  for (const auto& [key, value] : entries) map.emplace_back(key, value);
  data_ = std::move(map);
}

std::string Value::type_text() const {
  static const char* const names[] = {"nothing", "a bool", "an integer", "a number",
                                      "text",    "a list", "a message"};
  return names[data_.index()];
}

bool Value::as_bool() const {
  check(is_bool(), "expected a bool, got ", type_text());
  return std::get<bool>(data_);
}

int64_t Value::as_int() const {
  check(is_int(), "expected an integer, got ", type_text());
  return std::get<int64_t>(data_);
}

double Value::as_real() const {
  if (is_int()) return static_cast<double>(as_int());
  if (is_text()) {  // what json() writes for numbers that JSON lacks
    const std::string& t = as_text();
    if (t == "inf") return INFINITY;
    if (t == "-inf") return -INFINITY;
    if (t == "nan") return NAN;
  }
  check(is_real(), "expected a number, got ", type_text());
  return std::get<double>(data_);
}

const std::string& Value::as_text() const {
  check(is_text(), "expected text, got ", type_text());
  return std::get<std::string>(data_);
}

const Value::List& Value::as_list() const {
  check(is_list(), "expected a list, got ", type_text());
  return std::get<List>(data_);
}

const Value::Map& Value::as_map() const {
  check(is_map(), "expected a message, got ", type_text());
  return std::get<Map>(data_);
}

Value::Map& Value::as_map() {
  check(is_map(), "expected a message, got ", type_text());
  return std::get<Map>(data_);
}

const Value* Value::find(const std::string& key) const {
  for (const auto& [name, value] : as_map()) {
    if (name == key) return &value;
  }
  return nullptr;
}

Value& Value::operator[](const std::string& key) {
  if (is_null()) data_ = Map();
  for (auto& [name, value] : as_map()) {
    if (name == key) return value;
  }
  return as_map().emplace_back(key, Value()).second;
}

void Value::push_back(Value v) {
  if (is_null()) data_ = List();
  check(is_list(), "expected a list, got ", type_text());
  std::get<List>(data_).push_back(std::move(v));
}

std::string Value::json() const {
  return to_json(*this).dump(-1, ' ', false, Json::error_handler_t::replace);
}

Value Value::from_json(const std::string& text) {
  try {
    return from(Json::parse(text));
  } catch (const Json::exception& e) {
    fail("bad JSON: ", e.what());
  }
}

}  // namespace pydl
