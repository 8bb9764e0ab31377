#include "text/tool_format.h"

namespace hlwq {

std::optional<ToolFormat> detect_tool_format(std::string_view chat_template) {
  const auto shows = [&](std::string_view tag) {
    return chat_template.find(tag) != std::string_view::npos;
  };
  if (shows("<TOOLCALL>")) return ToolFormat::kNemotronV2;
  if (!shows("<tool_call>")) return std::nullopt;
  // Both of the others put calls into <tool_call>.
  if (shows("<function=")) return ToolFormat::kXml;
  // In a string of the template the quotes are escaped.
  if (shows(R"("arguments":)") || shows(R"(\"arguments\":)")) return ToolFormat::kJson;
  return std::nullopt;
}

}  // namespace hlwq
