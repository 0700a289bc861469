// Plain data: what a layer's parameters look like before the layer has read them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace pydl {

// Null, bool, integer, real, text, list or map (in insertion order): JSON's types.
//
//   Value p{{"num_output", 20}, {"kernel_size", Value::list({5, 5})}};
class Value {
 public:
  using List = std::vector<Value>;
  using Map = std::vector<std::pair<std::string, Value>>;

  Value() = default;
  // In value.cpp, as every layer's parameters use them.
  Value(const Value& v);
  Value(Value&& v) noexcept;
  Value& operator=(const Value& v);
  Value& operator=(Value&& v) noexcept;
  ~Value();
  Value(bool v) : data_(v) {}
  Value(int v) : data_(static_cast<int64_t>(v)) {}
  Value(int64_t v) : data_(v) {}
  Value(double v) : data_(v) {}
  Value(float v) : data_(static_cast<double>(v)) {}
  Value(const char* v);
  Value(std::string v) : data_(std::move(v)) {}
  Value(List v) : data_(std::move(v)) {}
  Value(Map v) : data_(std::move(v)) {}
  Value(std::initializer_list<std::pair<const char*, Value>> entries);
  static Value list(std::initializer_list<Value> items) { return Value(List(items)); }
  static Value map() { return Value(Map()); }

  bool is_null() const { return data_.index() == 0; }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  bool is_real() const { return std::holds_alternative<double>(data_); }
  bool is_text() const { return std::holds_alternative<std::string>(data_); }
  bool is_list() const { return std::holds_alternative<List>(data_); }
  bool is_map() const { return std::holds_alternative<Map>(data_); }

  // Each throws pydl::Error when the value is of another type.
  bool as_bool() const;
  int64_t as_int() const;
  double as_real() const;  // an integer counts as a real
  const std::string& as_text() const;
  const List& as_list() const;
  const Map& as_map() const;
  Map& as_map();

  const Value* find(const std::string& key) const;  // of a map; null if absent
  Value& operator[](const std::string& key);        // of a map; added if absent
  void push_back(Value v);                          // to a list; null becomes an empty list

  std::string type_text() const;  // "an integer", "text", ... for messages
  std::string json() const;       // infinities and NaN as the texts "inf", "-inf", "nan"
  static Value from_json(const std::string& text);  // throws pydl::Error

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, List, Map> data_;
};

}  // namespace pydl
