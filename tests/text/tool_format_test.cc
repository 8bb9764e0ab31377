#include "text/tool_format.h"

#include <gtest/gtest.h>

namespace hlwq {
namespace {

TEST(ToolFormat, IsWhatTheTemplateShows) {
  EXPECT_EQ(detect_tool_format("... <tool_call>\\n<function=example_name>\\n<parameter=a>"),
            ToolFormat::kXml);
  EXPECT_EQ(detect_tool_format(
                R"({{- "<tool_call>\n{\"name\": <name>, \"arguments\": <args>}\n</tool_call>" }})"),
            ToolFormat::kJson);
  EXPECT_EQ(detect_tool_format(R"(<tool_call>{"name": "x", "arguments": {}}</tool_call>)"),
            ToolFormat::kJson);
  EXPECT_EQ(detect_tool_format(R"(<TOOLCALL>[{"name": "x", "arguments": {}}]</TOOLCALL>)"),
            ToolFormat::kNemotronV2);
}

TEST(ToolFormat, OfOtherTemplatesIsNone) {
  EXPECT_EQ(detect_tool_format(""), std::nullopt);
  EXPECT_EQ(detect_tool_format(R"({"name": "x", "arguments": {}})"), std::nullopt);
  // A format of its own: keys and values in tags.
  EXPECT_EQ(detect_tool_format("<tool_call>{name}\n<arg_key>k</arg_key>\n<arg_value>v</arg_value>"
                               "{% set arguments = call.arguments %}"),
            std::nullopt);
}

}  // namespace
}  // namespace hlwq
