#pragma once
// How a model writes tool calls. Its chat template shows it the format, so the template tells.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace hlwq {

enum class ToolFormat {
  // <tool_call>\n<function=NAME>\n<parameter=KEY>\nVALUE\n</parameter>\n…</function>\n</tool_call>
  kXml,  // Nemotron-3, Qwen3-Coder
  // <tool_call>\n{"name": …, "arguments": {…}}\n</tool_call>
  kJson,  // Hermes, Qwen2.5, Qwen3
  // <TOOLCALL>[{"name": …, "arguments": {…}}, …]</TOOLCALL>
  kNemotronV2,
};

struct ToolSpec {
  std::string name;
  nlohmann::ordered_json parameters;  // a JSON schema of an object; null when none was given
};

// The format a template shows; none when it shows no known one.
[[nodiscard]] std::optional<ToolFormat> detect_tool_format(std::string_view chat_template);

}  // namespace hlwq
