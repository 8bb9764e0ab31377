#pragma once
// Values as text: Python's str and repr, and JSON as json.dumps writes it.

#include <optional>
#include <string>

#include "text/jinja/runtime.h"

namespace hlwq::jinja {

// Appends str(value). What a container shows is marked as data as a whole if anything in it is.
// Errors: kUnsupported for what Python shows as an address (a function, a generator).
[[nodiscard]] Status append_str(Runtime& runtime, const Value& value, MarkedText& out);
// The text itself, or that of str.
[[nodiscard]] Result<MarkedText> to_str(Runtime& runtime, const Value& value);

// Python's repr of a number.
[[nodiscard]] std::string float_repr(double value);
[[nodiscard]] std::string integer_text(__int128 value);

struct JsonStyle {
  bool ascii = false;                 // everything else as \uXXXX
  std::optional<std::string> indent;  // one level's; without it, all on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
  Origin origin = Origin::kTemplate;  // of indent and separators
};
// Marked as data as a whole if anything in it is. Errors: what JSON has no form for.
[[nodiscard]] Result<MarkedText> to_json(Runtime& runtime, const Value& value,
                                         const JsonStyle& style);

}  // namespace hlwq::jinja
