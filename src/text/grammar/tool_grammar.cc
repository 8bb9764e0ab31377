#include "text/grammar/tool_grammar.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <vector>

#include "base/utf8.h"
#include "io/printable.h"
#include "text/grammar/json_nodes.h"
#include "text/grammar/schema_compiler.h"

namespace hlwq {
namespace {

constexpr size_t kMostTools = 1024;

Status check_tools(std::span<const ToolSpec> tools) {
  if (tools.empty()) return fail(ErrorCode::kInvalidArgument, "tools: none is given");
  if (tools.size() > kMostTools) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("tools: {} are given, at most {} are supported", tools.size(), kMostTools));
  }
  std::set<std::string_view> names;
  for (const ToolSpec& tool : tools) {
    const bool is_name = !tool.name.empty() && is_utf8(tool.name) &&
                         std::all_of(tool.name.begin(), tool.name.end(), [](char c) {
                           return static_cast<uint8_t>(c) >= 0x20 && c != '<' && c != '>';
                         });
    if (!is_name) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("tools: \"{}\" cannot be the name of a tool", printable(tool.name)));
    }
    if (!names.insert(tool.name).second) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("tools: \"{}\" is given twice", printable(tool.name)));
    }
  }
  return {};
}

// A call without what is around it: a function element or an object.
Result<GrammarNode> call_node(GrammarBuilder& builder, JsonNodes& json, SchemaCompiler& compiler,
                              std::string_view name, ToolFormat format) {
  if (format == ToolFormat::kXml) {
    HLWQ_TRY_ASSIGN(const GrammarNode parameters, compiler.parameters());
    return builder.sequence({builder.literal(fmt::format("<function={}>\n", name)), parameters,
                             builder.literal("</function>")});
  }
  HLWQ_TRY_ASSIGN(const GrammarNode arguments, compiler.json_object());
  const GrammarNode gap = json.gap();
  return builder.nested({builder.literal("{"),
                         builder.sequence({gap, builder.literal("\"name\":"), gap, json.text(name),
                                           builder.literal(","), gap,
                                           builder.literal("\"arguments\":"), gap, arguments, gap}),
                         builder.literal("}")});
}

GrammarNode frame_node(GrammarBuilder& builder, JsonNodes& json, GrammarNode call,
                       ToolFormat format, bool parallel) {
  const uint32_t most_further = parallel ? kUnlimited : 0;
  if (format == ToolFormat::kNemotronV2) {
    return builder.sequence({builder.literal("<TOOLCALL>"),
                             json.array(call, 1, parallel ? kUnlimited : 1),
                             builder.literal("</TOOLCALL>")});
  }
  const GrammarNode element =
      builder.sequence({builder.literal("<tool_call>\n"), call, builder.literal("\n</tool_call>")});
  const GrammarNode further = builder.sequence({builder.optional(builder.literal("\n")), element});
  return builder.sequence({element, builder.repeat(further, 0, most_further)});
}

}  // namespace

Result<Grammar> tool_call_grammar(std::span<const ToolSpec> tools, ToolFormat format, bool parallel,
                                  const SchemaLimits& limits) {
  HLWQ_TRY(check_tools(tools));
  const SchemaJson no_parameters = {{"type", "object"}, {"additionalProperties", false}};
  GrammarBuilder builder(limits.grammar);
  JsonNodes json(builder);
  size_t work = 0;
  std::vector<GrammarNode> calls;
  for (const ToolSpec& tool : tools) {
    const SchemaJson& schema = tool.parameters.is_null() ? no_parameters : tool.parameters;
    const std::string where = fmt::format("tool \"{}\": parameters", printable(tool.name));
    HLWQ_TRY_ASSIGN(SchemaDocument document, SchemaDocument::read(schema, where, limits));
    if (!schema.is_object()) {
      return document.refuse(ErrorCode::kInvalidArgument, document.root(), "",
                             "must be the schema of an object");
    }
    SchemaCompiler compiler(builder, json, document, limits, work);
    HLWQ_TRY_ASSIGN(const GrammarNode call, call_node(builder, json, compiler, tool.name, format));
    calls.push_back(call);
  }
  Result<Grammar> grammar =
      builder.build(frame_node(builder, json, builder.alternatives(calls), format, parallel));
  if (!grammar && grammar.error().code == ErrorCode::kInvalidArgument) {
    return fail(ErrorCode::kInvalidArgument, "tools: no arguments satisfy any tool's parameters");
  }
  return grammar;
}

}  // namespace hlwq
