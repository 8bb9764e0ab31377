#pragma once

#include <optional>

#include "base/result.h"
#include "hlwq/service.h"
#include "text/grammar/grammar.h"
#include "text/tool_format.h"

namespace hlwq {

// The grammar of an answer in this format; none for free text. `tool_format`: how the model's
// template writes calls. Errors: kInvalidArgument (JSON, a schema that contradicts itself, a tool
// that is not there), kUnsupported (a schema that asks for more than is known; tools for a template
// without them).
[[nodiscard]] Result<std::optional<Grammar>> output_grammar(
    const OutputFormat& format, const std::optional<ToolFormat>& tool_format);

// From OpenAI's array of tools. Errors: kInvalidArgument, naming the place.
[[nodiscard]] Result<std::vector<ToolSpec>> parse_tools(std::string_view tools);

}  // namespace hlwq
