#include "text/jinja/print.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "text/jinja/unicode.h"

namespace hlwq::jinja {
namespace {

void append_escape(uint32_t c, std::string& out) {
  switch (c) {
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      out += c < 0x100     ? fmt::format("\\x{:02x}", c)
             : c < 0x10000 ? fmt::format("\\u{:04x}", c)
                           : fmt::format("\\U{:08x}", c);
  }
}

void append_text_repr(std::string_view text, std::string& out) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  out += quote;
  while (!text.empty()) {
    const Utf8Step step = step_utf8(text);
    const auto bytes = static_cast<size_t>(step.bytes);
    const uint32_t c = step.code_point;
    if (c == static_cast<uint8_t>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (is_printable(c)) {
      out += text.substr(0, bytes);
    } else {
      append_escape(c, out);
    }
    text.remove_prefix(bytes);
  }
  out += quote;
}

Status append_repr(Runtime& runtime, const Value& value, std::string& out);

Status append_items(Runtime& runtime, const std::vector<Value>& items, std::string& out) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ", ";
    HLWQ_TRY(append_repr(runtime, items[i], out));
  }
  return {};
}

Status append_sequence(Runtime& runtime, const Value& value, std::string& out) {
  const Sequence& sequence = *value.sequence();
  switch (sequence.flavor) {
    case Sequence::Flavor::kList:
      out += '[';
      HLWQ_TRY(append_items(runtime, sequence.items, out));
      out += ']';
      return {};
    case Sequence::Flavor::kTuple:
      out += '(';
      HLWQ_TRY(append_items(runtime, sequence.items, out));
      out += sequence.items.size() == 1 ? ",)" : ")";
      return {};
    case Sequence::Flavor::kKeys:
    case Sequence::Flavor::kValues:
    case Sequence::Flavor::kItems:
      out += fmt::format("{}([", value.type_name());
      HLWQ_TRY(append_items(runtime, sequence.items, out));
      out += "])";
      return {};
    default:
      return runtime.unsupported(fmt::format("printing a {}", value.type_name()));
  }
}

// What is not text itself.
Status append_repr(Runtime& runtime, const Value& value, std::string& out) {
  HLWQ_TRY(runtime.spend(1));
  HLWQ_TRY(runtime.expect_text(out.size()));
  if (value.is_undefined()) {
    out += "Undefined";
  } else if (value.is_none()) {
    out += "None";
  } else if (value.is_bool()) {
    out += value.boolean() ? "True" : "False";
  } else if (value.is_integer()) {
    out += integer_text(value.integer());
  } else if (value.is_float()) {
    out += float_repr(value.real());
  } else if (value.is_text()) {
    HLWQ_TRY(runtime.touch(value.text().size()));
    append_text_repr(value.text().bytes(), out);
  } else if (value.sequence() != nullptr) {
    return append_sequence(runtime, value, out);
  } else if (const Dict* dict = value.dict()) {
    out += '{';
    for (size_t i = 0; i < dict->entries.size(); ++i) {
      if (i > 0) out += ", ";
      HLWQ_TRY(append_repr(runtime, dict->entries[i].first, out));
      out += ": ";
      HLWQ_TRY(append_repr(runtime, dict->entries[i].second, out));
    }
    out += '}';
  } else {
    return runtime.unsupported(fmt::format("printing a {}", value.type_name()));
  }
  return {};
}

}  // namespace

Status append_str(Runtime& runtime, const Value& value, MarkedText& out) {
  if (value.is_undefined()) return {};
  if (value.is_text()) {
    HLWQ_TRY(runtime.touch(value.text().size()));
    HLWQ_TRY(runtime.expect_text(out.size() + value.text().size()));
    out.append(value.text());
    return {};
  }
  std::string text;
  HLWQ_TRY(append_repr(runtime, value, text));
  HLWQ_TRY(runtime.touch(text.size()));
  HLWQ_TRY(runtime.expect_text(out.size() + text.size()));
  out.append(text, value.origin());
  return {};
}

Result<MarkedText> to_str(Runtime& runtime, const Value& value) {
  MarkedText text;
  HLWQ_TRY(append_str(runtime, value, text));
  return text;
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  std::string text = fmt::format("{}", value);
  if (std::isfinite(value) && text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string integer_text(__int128 value) { return fmt::format("{}", value); }

}  // namespace hlwq::jinja
