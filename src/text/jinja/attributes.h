#pragma once
// value.name, value[key] and value[a:b:c], with Jinja's falling back from one to the other, and the
// methods of Python's types that templates may call.

#include "text/jinja/arguments.h"

namespace hlwq::jinja {

// value.name: attributes and methods first, then items. What is not there is undefined.
// Errors: on an undefined value; kUnsupported for a method that Python has and this does not.
[[nodiscard]] Result<Value> get_attribute(Runtime& runtime, const Value& value,
                                          std::string_view name);
// value[key]: items first. Errors: as above.
[[nodiscard]] Result<Value> get_item(Runtime& runtime, const Value& value, const Value& key);
// Null bounds: not given. Errors: what has no slices.
[[nodiscard]] Result<Value> get_slice(Runtime& runtime, const Value& value, const Value* begin,
                                      const Value* end, const Value* step);
// The item that a path like "function.name" or "0.id" leads to, as filters' `attribute` has it.
[[nodiscard]] Result<Value> get_path(Runtime& runtime, const Value& value, const Value& path);

struct NamedMethod {
  std::string_view name;
  Native native;
};
// Null without that method.
[[nodiscard]] const NamedMethod* find_text_method(std::string_view name);

}  // namespace hlwq::jinja
