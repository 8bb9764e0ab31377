#pragma once
// Grammars of tool calls.

#include <span>

#include "text/grammar/schema.h"
#include "text/tool_format.h"

namespace hlwq {

// One call of one of the tools, or with `parallel` one or more, in the model's format; nothing
// before or after. Arguments as the tool's schema has them; null parameters are those of a tool
// without any. In kXml further parameters are never offered, and text never holds
// "\n</parameter>". Errors: those of compile_json_schema, naming the tool; kInvalidArgument without
// tools, for a name that the format cannot carry, or for one that comes twice.
[[nodiscard]] Result<Grammar> tool_call_grammar(std::span<const ToolSpec> tools, ToolFormat format,
                                                bool parallel, const SchemaLimits& limits = {});

}  // namespace hlwq
