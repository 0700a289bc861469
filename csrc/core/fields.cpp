#include "pydl/fields.h"

#include "core/check.h"

namespace pydl::fields_internal {

void fail_field(const std::string& message, const std::string& field, const std::string& problem) {
  fail(message, ".", field, ": ", problem);
}

void fail_unknown(const std::string& message, const std::string& field,
                  const std::vector<std::string>& known) {
  fail("unknown field \"", field, "\" in ", message, did_you_mean(field, known));
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

}  // namespace pydl::fields_internal
