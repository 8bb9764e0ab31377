#include "api/output_grammar.h"

#include <fmt/format.h>

#include <algorithm>

#include "io/json.h"
#include "text/grammar/schema.h"
#include "text/grammar/tool_grammar.h"

namespace hlwq {

Result<std::vector<ToolSpec>> parse_tools(std::string_view tools) {
  HLWQ_TRY_ASSIGN(const OrderedJson json, parse_ordered_json(tools, "tools"));
  if (!json.is_array()) return fail(ErrorCode::kInvalidArgument, "tools: wanted an array");
  std::vector<ToolSpec> specs;
  for (size_t i = 0; i < json.size(); ++i) {
    const OrderedJson& tool = json[i];
    const bool is_function = tool.is_object() && tool.contains("function") &&
                             tool["function"].is_object() && tool["function"].contains("name") &&
                             tool["function"]["name"].is_string();
    if (!is_function)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("tools[{}]: wanted an object with a function that has a name", i));
    const OrderedJson& function = tool["function"];
    specs.push_back({function["name"].get<std::string>(),
                     function.contains("parameters") ? function["parameters"] : OrderedJson()});
  }
  return specs;
}

Result<std::optional<Grammar>> output_grammar(const OutputFormat& format,
                                              const std::optional<ToolFormat>& tool_format) {
  switch (format.kind) {
    case OutputFormat::Kind::kText:
      return std::nullopt;
    case OutputFormat::Kind::kJsonObject:
      return json_object_grammar();
    case OutputFormat::Kind::kJsonSchema: {
      HLWQ_TRY_ASSIGN(const OrderedJson schema, parse_ordered_json(format.schema, "schema"));
      return compile_json_schema(schema);
    }
    case OutputFormat::Kind::kToolCalls:
      break;
  }
  if (!tool_format)
    return fail(ErrorCode::kUnsupported, "tools: the model's chat template has none");
  HLWQ_TRY_ASSIGN(std::vector<ToolSpec> tools, parse_tools(format.tools));
  if (!format.tool.empty())
    std::erase_if(tools, [&](const ToolSpec& tool) { return tool.name != format.tool; });
  if (tools.empty())
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("tools: there is none called \"{}\"", format.tool));
  return tool_call_grammar(tools, *tool_format, format.parallel_calls);
}

}  // namespace hlwq
