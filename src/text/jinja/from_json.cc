#include "text/jinja/from_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "text/jinja/find.h"

namespace hlwq::jinja {
namespace {

enum class Thoughts { kData, kTrusted };

std::string valid_text(const std::string& text) {
  if (is_utf8(text)) return text;
  std::string valid;
  append_replacing_invalid(text, valid);
  return valid;
}

MarkedText with_trusted_thoughts(std::string_view text) {
  static constexpr std::string_view kMarks[] = {"<think>", "</think>"};
  MarkedText marked;
  while (!text.empty()) {
    const auto* mark = std::find_if(std::begin(kMarks), std::end(kMarks),
                                    [&](std::string_view m) { return text.starts_with(m); });
    size_t bytes = 0;
    if (mark != std::end(kMarks)) {
      bytes = mark->size();
      marked.append(text.substr(0, bytes), Origin::kTemplate);
    } else {
      bytes = std::min(text.find('<', 1), text.size());
      marked.append(text.substr(0, bytes), Origin::kData);
    }
    text.remove_prefix(bytes);
  }
  return marked;
}

class Converter {
 public:
  explicit Converter(Runtime& runtime) : runtime_(runtime) {}

  // `depth`: containers around it.
  Result<Value> convert(const OrderedJson& json, Thoughts thoughts, int depth) {
    if (depth > runtime_.limits().container_depth) {
      return runtime_.error(fmt::format("the conversation is nested deeper than {} levels",
                                        runtime_.limits().container_depth));
    }
    HLWQ_TRY(runtime_.spend(1));
    switch (json.type()) {
      case OrderedJson::value_t::null:
      case OrderedJson::value_t::discarded:
        return Value();
      case OrderedJson::value_t::boolean:
        return Value(json.get<bool>()).marked(true);
      case OrderedJson::value_t::number_integer:
        return Value(json.get<int64_t>()).marked(true);
      case OrderedJson::value_t::number_unsigned:
        return Value(json.get<uint64_t>()).marked(true);
      case OrderedJson::value_t::number_float:
        return Value(json.get<double>()).marked(true);
      case OrderedJson::value_t::string: {
        const std::string text = valid_text(json.get_ref<const std::string&>());
        return runtime_.text(thoughts == Thoughts::kTrusted ? with_trusted_thoughts(text)
                                                            : MarkedText(text, Origin::kData));
      }
      case OrderedJson::value_t::array: {
        std::vector<Value> items;
        items.reserve(json.size());
        for (const OrderedJson& item : json) {
          HLWQ_TRY_ASSIGN(Value value, convert(item, thoughts, depth + 1));
          items.push_back(std::move(value));
        }
        return runtime_.sequence(std::move(items));
      }
      case OrderedJson::value_t::object:
        return convert_object(json, thoughts, "text", depth);
      case OrderedJson::value_t::binary:
        break;
    }
    return runtime_.error("the conversation holds binary data");
  }

  // `thoughts` is for the member `spoken`; all else is data.
  Result<Value> convert_object(const OrderedJson& json, Thoughts thoughts, std::string_view spoken,
                               int depth) {
    std::vector<Dict::Entry> entries;
    entries.reserve(json.size());
    for (const auto& [name, member] : json.get_ref<const OrderedJson::object_t&>()) {
      HLWQ_TRY_ASSIGN(Value key, runtime_.text(valid_text(name), Origin::kData));
      HLWQ_TRY_ASSIGN(Value value,
                      convert(member, name == spoken ? thoughts : Thoughts::kData, depth + 1));
      entries.emplace_back(std::move(key), std::move(value));
    }
    return runtime_.dict(std::move(entries));
  }

 private:
  Runtime& runtime_;
};

bool is_assistants(const OrderedJson& message) {
  const auto role = message.find("role");
  return role != message.end() && role->is_string() &&
         role->get_ref<const std::string&>() == "assistant";
}

}  // namespace

Result<Value> value_from_json(Runtime& runtime, const OrderedJson& json) {
  return Converter(runtime).convert(json, Thoughts::kData, 0);
}

Result<Value> messages_from_json(Runtime& runtime, const OrderedJson& messages) {
  if (!messages.is_array()) return value_from_json(runtime, messages);
  std::vector<Value> items;
  items.reserve(messages.size());
  for (const OrderedJson& message : messages) {
    HLWQ_TRY_ASSIGN(Value value, message.is_object() && is_assistants(message)
                                     ? Converter(runtime).convert_object(
                                           message, Thoughts::kTrusted, "content", 1)
                                     : Converter(runtime).convert(message, Thoughts::kData, 1));
    items.push_back(std::move(value));
  }
  return runtime.sequence(std::move(items));
}

}  // namespace hlwq::jinja
