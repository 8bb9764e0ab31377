#pragma once
// Flags from the field lists of include/hlwq/options.h.

#include <CLI/App.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "hlwq/options.h"

namespace hlwq::cli {

// The kind of value after a flag, for the help: its choices or its range.
[[nodiscard]] std::string value_kind(const OptionField& field, bool is_text);

// Declares one flag for each field, bound to it; `options` must outlive the parsing. Ranges are
// checked after parsing, by check_options.
template <typename Options>
void add_flags(CLI::App& command, Options& options, const std::string& group) {
  options.visit([&](const OptionField& field, auto& value) {
    using Value = std::decay_t<decltype(value)>;
    constexpr bool kIsText = std::is_same_v<Value, std::string>;
    CLI::Option* const option =
        command.add_option(std::string("--") + field.name, value, field.help)
            ->type_name(value_kind(field, kIsText))
            ->group(group);
    if constexpr (kIsText || std::is_arithmetic_v<Value>) option->capture_default_str();
  });
}

// The fields as a JSON object; unset ones are null.
template <typename Options>
[[nodiscard]] nlohmann::json to_json(const Options& options) {
  nlohmann::json object = nlohmann::json::object();
  options.visit([&](const OptionField& field, const auto& value) {
    if constexpr (requires { value.has_value(); }) {
      object[field.name] = value ? nlohmann::json(*value) : nlohmann::json();
    } else {
      object[field.name] = value;
    }
  });
  return object;
}

}  // namespace hlwq::cli
