#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "text/jinja/print.h"

namespace hlwq::jinja {
namespace {

void append_utf16_escapes(uint32_t c, std::string& out) {
  if (c < 0x10000) {
    out += fmt::format("\\u{:04x}", c);
  } else {
    out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((c - 0x10000) >> 10),
                       0xDC00 + ((c - 0x10000) & 0x3FF));
  }
}

void append_json_string(std::string_view text, bool ascii, std::string& out) {
  out += '"';
  while (!text.empty()) {
    const Utf8Step step = step_utf8(text);
    const auto bytes = static_cast<size_t>(step.bytes);
    const uint32_t c = step.code_point;
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\f') {
      out += "\\f";
    } else if (c == '\b') {
      out += "\\b";
    } else if (c < 0x20 || (ascii && c > 0x7E)) {
      append_utf16_escapes(c, out);
    } else {
      out += text.substr(0, bytes);
    }
    text.remove_prefix(bytes);
  }
  out += '"';
}

class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {}

  Status write(const Value& value, size_t level) {
    HLWQ_TRY(runtime_.spend(1));
    HLWQ_TRY(runtime_.expect_text(out_.size()));
    if (value.is_text()) {
      HLWQ_TRY(runtime_.touch(value.text().size()));
      append_json_string(value.text().bytes(), style_.ascii, out_);
      return {};
    }
    if (value.is_none() || value.is_number()) {
      out_ += plain(value);
      return {};
    }
    const Sequence* sequence = value.sequence();
    const bool is_array = sequence != nullptr && (sequence->flavor == Sequence::Flavor::kList ||
                                                  sequence->flavor == Sequence::Flavor::kTuple);
    if (is_array) return write_array(*sequence, level);
    if (const Dict* dict = value.dict()) return write_object(*dict, level);
    return runtime_.error(
        fmt::format("Object of type {} is not JSON serializable", value.type_name()));
  }

  std::string take() { return std::move(out_); }

 private:
  static std::string plain(const Value& value) {
    if (value.is_none()) return "null";
    if (value.is_bool()) return value.boolean() ? "true" : "false";
    if (value.is_integer()) return integer_text(value.integer());
    if (std::isnan(value.real())) return "NaN";
    if (std::isinf(value.real())) return value.real() < 0 ? "-Infinity" : "Infinity";
    return float_repr(value.real());
  }

  Status new_line(size_t level) {
    if (!style_.indent) return {};
    HLWQ_TRY(runtime_.touch(level * style_.indent->size()));
    HLWQ_TRY(runtime_.expect_text(out_.size() + level * style_.indent->size()));
    out_ += '\n';
    for (size_t i = 0; i < level; ++i) out_ += *style_.indent;
    return {};
  }

  Status write_array(const Sequence& sequence, size_t level) {
    out_ += '[';
    for (size_t i = 0; i < sequence.items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      HLWQ_TRY(new_line(level + 1));
      HLWQ_TRY(write(sequence.items[i], level + 1));
    }
    if (!sequence.items.empty()) HLWQ_TRY(new_line(level));
    out_ += ']';
    return {};
  }

  Status write_object(const Dict& dict, size_t level) {
    std::vector<const Dict::Entry*> entries;
    for (const Dict::Entry& entry : dict.entries) {
      if (entry.first.is_text() || entry.first.is_none() || entry.first.is_number()) {
        entries.push_back(&entry);
        continue;
      }
      return runtime_.error(fmt::format("keys must be str, int, float, bool or None, not {}",
                                        entry.first.type_name()));
    }
    if (style_.sort_keys) {
      if (dict.by_text.size() != dict.entries.size())
        return runtime_.unsupported("tojson with sort_keys of keys that are no text");
      HLWQ_TRY(runtime_.spend(entries.size() * 8));
      std::sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) {
        return a->first.text().bytes() < b->first.text().bytes();
      });
    }
    out_ += '{';
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      HLWQ_TRY(new_line(level + 1));
      if (entries[i]->first.is_text()) {
        HLWQ_TRY(write(entries[i]->first, level));
      } else {
        out_ += fmt::format("\"{}\"", plain(entries[i]->first));
      }
      out_ += style_.key_separator;
      HLWQ_TRY(write(entries[i]->second, level + 1));
    }
    if (!entries.empty()) HLWQ_TRY(new_line(level));
    out_ += '}';
    return {};
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  std::string out_;
};

}  // namespace

Result<MarkedText> to_json(Runtime& runtime, const Value& value, const JsonStyle& style) {
  JsonWriter writer(runtime, style);
  HLWQ_TRY(writer.write(value, 0));
  const bool has_data = value.has_data() || style.origin == Origin::kData;
  return MarkedText(writer.take(), has_data ? Origin::kData : Origin::kTemplate);
}

}  // namespace hlwq::jinja
