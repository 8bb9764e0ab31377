#include "server/chat_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "io/json.h"

namespace hlwq::server {
namespace {

constexpr std::array<std::string_view, 5> kRoles = {"system", "developer", "user", "assistant",
                                                    "tool"};

// A string, or parts of which only text is understood; null is nothing.
Result<std::string> content_text(const OrderedJson& content, const std::string& path) {
  if (content.is_null()) return std::string();
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array())
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: got {}, wanted a string or an array of parts", path, shown(content)));
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    const std::string part_path = fmt::format("{}[{}].", path, i);
    HLWQ_TRY_ASSIGN(const Fields part, Fields::of(content[i], part_path));
    HLWQ_TRY_ASSIGN(const auto type, part.text("type"));
    if (type != "text" && type != "input_text" && type != "output_text")
      return fail(ErrorCode::kUnsupported,
                  fmt::format("{}type: got {}, and only text is understood", part_path,
                              type ? shown(OrderedJson(*type)) : "nothing"));
    HLWQ_TRY_ASSIGN(const auto piece, part.text("text"));
    if (!piece) return fail(ErrorCode::kInvalidArgument, fmt::format("{}text: missing", part_path));
    text += *piece;
  }
  return text;
}

Result<OrderedJson> template_call(const OrderedJson& call, const std::string& path) {
  HLWQ_TRY_ASSIGN(const Fields fields, Fields::of(call, path + "."));
  const OrderedJson* const function = fields.find("function");
  if (function == nullptr)
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}.function: missing", path));
  HLWQ_TRY_ASSIGN(const Fields inner, Fields::of(*function, path + ".function."));
  HLWQ_TRY_ASSIGN(const auto name, inner.text("name"));
  if (!name || name->empty())
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}.function.name: missing", path));
  OrderedJson out = call;
  // Clients send arguments as text; templates go through them.
  if (const OrderedJson* const arguments = inner.find("arguments");
      arguments != nullptr && arguments->is_string()) {
    const auto parsed =
        parse_ordered_json(arguments->get_ref<const std::string&>(), path + ".function.arguments");
    if (parsed && parsed->is_object()) out["function"]["arguments"] = *parsed;
  }
  return out;
}

Result<OrderedJson> template_message(const OrderedJson& message, const std::string& path) {
  HLWQ_TRY_ASSIGN(const Fields fields, Fields::of(message, path + "."));
  HLWQ_TRY_ASSIGN(const auto role, fields.text("role"));
  if (!role || std::find(kRoles.begin(), kRoles.end(), *role) == kRoles.end())
    return fields.wrong("role", role ? OrderedJson(*role) : OrderedJson(),
                        "system, developer, user, assistant or tool");
  OrderedJson out = message;
  out["role"] = *role == "developer" ? "system" : *role;
  const OrderedJson* const content = fields.find("content");
  const OrderedJson* const calls = fields.find("tool_calls");
  if (content == nullptr && calls == nullptr && fields.find("reasoning_content") == nullptr)
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}.content: missing", path));
  HLWQ_TRY_ASSIGN(out["content"],
                  content_text(content == nullptr ? OrderedJson() : *content, path + ".content"));
  if (calls == nullptr) {
    out.erase("tool_calls");
    return out;
  }
  if (*role != "assistant" || !calls->is_array() || calls->size() > kMostTools)
    return fields.wrong("tool_calls", *calls,
                        fmt::format("at most {} calls of an assistant", kMostTools));
  for (size_t i = 0; i < calls->size(); ++i) {
    HLWQ_TRY_ASSIGN(out["tool_calls"][i],
                    template_call((*calls)[i], fmt::format("{}.tool_calls[{}]", path, i)));
  }
  return out;
}

// What OpenAI takes, and what call formats can carry.
bool is_function_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.';
  });
}

Status read_tools(const Fields& fields, ChatAsk& ask) {
  const OrderedJson* const tools = fields.find("tools");
  if (tools == nullptr || (tools->is_array() && tools->empty())) return {};
  if (!tools->is_array() || tools->size() > kMostTools)
    return fields.wrong("tools", *tools, fmt::format("an array of at most {}", kMostTools));
  for (size_t i = 0; i < tools->size(); ++i) {
    const std::string path = fmt::format("tools[{}].", i);
    HLWQ_TRY_ASSIGN(const Fields tool, Fields::of((*tools)[i], path));
    HLWQ_TRY_ASSIGN(const auto type, tool.text("type"));
    if (type != "function")
      return fail(ErrorCode::kUnsupported,
                  fmt::format("{}type: only tools of type \"function\" are understood", path));
    const OrderedJson* const function = tool.find("function");
    if (function == nullptr)
      return fail(ErrorCode::kInvalidArgument, fmt::format("{}function: missing", path));
    HLWQ_TRY_ASSIGN(const Fields inner, Fields::of(*function, path + "function."));
    HLWQ_TRY_ASSIGN(const auto name, inner.text("name"));
    if (!name || !is_function_name(*name))
      return inner.wrong("name", name ? OrderedJson(*name) : OrderedJson(),
                         "1 to 64 letters, digits, _, - and .");
    const OrderedJson* const parameters = inner.find("parameters");
    if (parameters != nullptr && !parameters->is_object())
      return inner.wrong("parameters", *parameters, "a JSON schema");
    ask.tools.push_back({*name, parameters == nullptr ? OrderedJson() : *parameters});
  }
  ask.prompt.tools = tools->dump();
  return {};
}

Status read_tool_choice(const Fields& fields, ChatAsk& ask) {
  const OrderedJson* const choice = fields.find("tool_choice");
  if (choice == nullptr || *choice == "auto") return {};
  if (*choice == "none") {
    ask.prompt.tools.clear();
    ask.tools.clear();
    return {};
  }
  OutputFormat& format = ask.format;
  if (*choice == "required") {
    format.kind = OutputFormat::Kind::kToolCalls;
  } else if (choice->is_object()) {
    HLWQ_TRY_ASSIGN(const Fields outer, Fields::of(*choice, "tool_choice."));
    // Responses name the function beside the type, chat inside "function".
    const OrderedJson* const function = outer.find("function");
    HLWQ_TRY_ASSIGN(const Fields inner,
                    Fields::of(function == nullptr ? *choice : *function, "tool_choice."));
    HLWQ_TRY_ASSIGN(const auto name, inner.text("name"));
    const bool known =
        name && std::any_of(ask.tools.begin(), ask.tools.end(),
                            [&](const ToolSpec& tool) { return tool.name == *name; });
    if (!known) return fields.wrong("tool_choice", *choice, "a function of tools");
    format.kind = OutputFormat::Kind::kToolCalls;
    format.tool = *name;
  } else {
    return fields.wrong("tool_choice", *choice, "none, auto, required or a function");
  }
  if (ask.tools.empty())
    return fail(ErrorCode::kInvalidArgument, "tool_choice: wants a call, and there are no tools");
  format.tools = ask.prompt.tools;
  HLWQ_TRY_ASSIGN(const auto parallel, fields.boolean("parallel_tool_calls"));
  format.parallel_calls = parallel.value_or(true) && format.tool.empty();
  return {};
}

Status read_response_format(const Fields& fields, OutputFormat& format) {
  const OrderedJson* const wanted = fields.find("response_format");
  if (wanted == nullptr) return {};
  HLWQ_TRY_ASSIGN(const Fields inner, Fields::of(*wanted, "response_format."));
  HLWQ_TRY_ASSIGN(const auto type, inner.text("type"));
  if (type == "text") return {};
  if (format.kind != OutputFormat::Kind::kText)
    return fail(ErrorCode::kInvalidArgument,
                "response_format: cannot be had together with a forced tool call");
  if (type == "json_object") {
    format.kind = OutputFormat::Kind::kJsonObject;
    return {};
  }
  if (type != "json_schema")
    return inner.wrong("type", type ? OrderedJson(*type) : OrderedJson(),
                       "text, json_object or json_schema");
  // Chat has the schema inside "json_schema", responses beside the type.
  const OrderedJson* const nested = inner.find("json_schema");
  HLWQ_TRY_ASSIGN(const Fields holder, Fields::of(nested == nullptr ? *wanted : *nested,
                                                  "response_format.json_schema."));
  const OrderedJson* const schema = holder.find("schema");
  if (schema == nullptr)
    return fail(ErrorCode::kInvalidArgument, "response_format.json_schema.schema: missing");
  format.kind = OutputFormat::Kind::kJsonSchema;
  format.schema = schema->dump();
  return {};
}

Status read_variables(const Fields& fields, ChatRequest& prompt) {
  HLWQ_TRY_ASSIGN(const auto effort, fields.text("reasoning_effort"));
  if (effort) prompt.enable_thinking = *effort != "none";
  const OrderedJson* const given = fields.find("chat_template_kwargs");
  if (given == nullptr) return {};
  HLWQ_TRY_ASSIGN(const Fields variables, Fields::of(*given, "chat_template_kwargs."));
  HLWQ_TRY_ASSIGN(const auto thinking, variables.boolean("enable_thinking"));
  if (thinking) prompt.enable_thinking = *thinking;
  OrderedJson others = *given;
  for (const char* const own : {"enable_thinking", "messages", "tools", "add_generation_prompt"})
    others.erase(own);
  prompt.variables = others.dump();
  return {};
}

}  // namespace

Result<OrderedJson> template_messages(const OrderedJson& messages) {
  if (!messages.is_array() || messages.empty() || messages.size() > kMostMessages)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("messages: got {}, wanted an array of 1 to {}",
                            messages.is_null() ? "nothing" : shown(messages), kMostMessages));
  OrderedJson out = OrderedJson::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    HLWQ_TRY_ASSIGN(OrderedJson message,
                    template_message(messages[i], fmt::format("messages[{}]", i)));
    out.push_back(std::move(message));
  }
  return out;
}

Result<ChatAsk> chat_ask(const Fields& fields, const OrderedJson& messages) {
  ChatAsk ask;
  HLWQ_TRY_ASSIGN(ask.settings, read_settings(fields));
  ask.prompt.messages = messages.dump();
  HLWQ_TRY(read_tools(fields, ask));
  HLWQ_TRY(read_tool_choice(fields, ask));
  HLWQ_TRY(read_response_format(fields, ask.format));
  HLWQ_TRY(read_variables(fields, ask.prompt));
  HLWQ_TRY_ASSIGN(const auto logprobs, fields.boolean("logprobs"));
  HLWQ_TRY_ASSIGN(const auto top, fields.integer("top_logprobs", 0, kMostLogprobs));
  if (logprobs.value_or(false)) ask.settings.request.logprobs = top.value_or(0);
  if (top && !logprobs.value_or(false))
    return fail(ErrorCode::kInvalidArgument, "top_logprobs: wants logprobs to be true");
  return ask;
}

Result<ChatAsk> read_chat(const Fields& fields) {
  if (fields.find("functions") != nullptr)
    return fail(ErrorCode::kUnsupported, "functions: not understood any more, tools are");
  const OrderedJson* const messages = fields.find("messages");
  HLWQ_TRY_ASSIGN(const OrderedJson of_template,
                  template_messages(messages == nullptr ? OrderedJson() : *messages));
  return chat_ask(fields, of_template);
}

}  // namespace hlwq::server
