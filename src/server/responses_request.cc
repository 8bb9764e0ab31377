#include "server/responses_request.h"

#include <fmt/format.h>

#include <utility>

namespace hlwq::server {
namespace {

// Items of one turn come apart: reasoning, text and calls of an assistant are one message in a
// chat.
class Messages {
 public:
  void add(OrderedJson message) { messages_.push_back(std::move(message)); }
  void add_reasoning(const std::string& text) { open_assistant()["reasoning_content"] = text; }
  void add_call(OrderedJson call) {
    OrderedJson& message = open_assistant();
    if (!message.contains("tool_calls")) message["tool_calls"] = OrderedJson::array();
    message["tool_calls"].push_back(std::move(call));
  }
  void add_assistant_text(OrderedJson content) {
    if (messages_.empty() || messages_.back()["role"] != "assistant" ||
        !messages_.back()["content"].is_null() || messages_.back().contains("tool_calls"))
      messages_.push_back({{"role", "assistant"}, {"content", nullptr}});
    messages_.back()["content"] = std::move(content);
  }
  [[nodiscard]] OrderedJson take() { return std::move(messages_); }

 private:
  OrderedJson& open_assistant() {
    if (messages_.empty() || messages_.back()["role"] != "assistant")
      messages_.push_back({{"role", "assistant"}, {"content", nullptr}});
    return messages_.back();
  }
  OrderedJson messages_ = OrderedJson::array();
};

Result<std::string> required_text(const Fields& fields, std::string_view name) {
  HLWQ_TRY_ASSIGN(auto text, fields.text(name));
  if (!text)
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}: missing", fields.path_of(name)));
  return std::move(*text);
}

Status add_item(const OrderedJson& item, const std::string& path, Messages& messages) {
  HLWQ_TRY_ASSIGN(const Fields fields, Fields::of(item, path + "."));
  HLWQ_TRY_ASSIGN(const auto type, fields.text("type"));
  if (!type || *type == "message") {
    HLWQ_TRY_ASSIGN(const std::string role, required_text(fields, "role"));
    const OrderedJson* const content = fields.find("content");
    if (content == nullptr)
      return fail(ErrorCode::kInvalidArgument, fmt::format("{}.content: missing", path));
    if (role == "assistant") {
      messages.add_assistant_text(*content);
    } else {
      messages.add({{"role", role}, {"content", *content}});
    }
    return {};
  }
  if (*type == "function_call") {
    HLWQ_TRY_ASSIGN(const std::string id, required_text(fields, "call_id"));
    HLWQ_TRY_ASSIGN(const std::string name, required_text(fields, "name"));
    HLWQ_TRY_ASSIGN(const std::string arguments, required_text(fields, "arguments"));
    messages.add_call({{"id", id},
                       {"type", "function"},
                       {"function", {{"name", name}, {"arguments", arguments}}}});
    return {};
  }
  if (*type == "function_call_output") {
    HLWQ_TRY_ASSIGN(const std::string id, required_text(fields, "call_id"));
    const OrderedJson* const output = fields.find("output");
    messages.add({{"role", "tool"},
                  {"tool_call_id", id},
                  {"content", output == nullptr ? OrderedJson("") : *output}});
    return {};
  }
  if (*type == "reasoning") {
    std::string text;
    if (const OrderedJson* const parts = fields.find("content");
        parts != nullptr && parts->is_array())
      for (const OrderedJson& part : *parts)
        if (part.is_object() && part.contains("text") && part["text"].is_string())
          text += part["text"].get_ref<const std::string&>();
    if (!text.empty()) messages.add_reasoning(text);
    return {};
  }
  return fail(ErrorCode::kUnsupported,
              fmt::format("{}.type: {} is not understood", path, shown(OrderedJson(*type))));
}

Result<OrderedJson> messages_of(const Fields& fields) {
  Messages messages;
  HLWQ_TRY_ASSIGN(const auto instructions, fields.text("instructions"));
  if (instructions) messages.add({{"role", "system"}, {"content", *instructions}});
  const OrderedJson* const input = fields.find("input");
  if (input == nullptr) return fail(ErrorCode::kInvalidArgument, "input: missing");
  if (input->is_string()) {
    messages.add({{"role", "user"}, {"content", *input}});
    return messages.take();
  }
  if (!input->is_array() || input->size() > kMostMessages)
    return fields.wrong("input", *input,
                        fmt::format("a string or an array of at most {} items", kMostMessages));
  for (size_t i = 0; i < input->size(); ++i)
    HLWQ_TRY(add_item((*input)[i], fmt::format("input[{}]", i), messages));
  return messages.take();
}

// {"type", "name", ...} into {"type", "function": {"name", ...}}.
OrderedJson nested_tool(const OrderedJson& tool) {
  if (!tool.is_object() || tool.contains("function")) return tool;
  OrderedJson function = tool;
  function.erase("type");
  return {{"type", tool.value("type", OrderedJson())}, {"function", std::move(function)}};
}

}  // namespace

Result<ChatAsk> read_responses(const Fields& fields) {
  for (const char* const field : {"previous_response_id", "conversation", "prompt"})
    if (fields.find(field) != nullptr)
      return fail(ErrorCode::kUnsupported,
                  fmt::format("{}: this server keeps nothing between requests", field));
  HLWQ_TRY_ASSIGN(const auto background, fields.boolean("background"));
  if (background.value_or(false)) return fail(ErrorCode::kUnsupported, "background: not supported");
  HLWQ_TRY_ASSIGN(const OrderedJson given, messages_of(fields));
  HLWQ_TRY_ASSIGN(const OrderedJson messages, template_messages(given));
  OrderedJson chat = OrderedJson::object();
  for (const char* const same :
       {"model", "max_output_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "stream",
        "stop", "tool_choice", "parallel_tool_calls", "chat_template_kwargs", "presence_penalty",
        "frequency_penalty", "repetition_penalty", "logit_bias"})
    if (const OrderedJson* const value = fields.find(same)) chat[same] = *value;
  if (const OrderedJson* const tools = fields.find("tools")) {
    if (!tools->is_array()) return fields.wrong("tools", *tools, "an array");
    chat["tools"] = OrderedJson::array();
    for (const OrderedJson& tool : *tools) chat["tools"].push_back(nested_tool(tool));
  }
  if (const OrderedJson* const text = fields.find("text")) {
    HLWQ_TRY_ASSIGN(const Fields inner, Fields::of(*text, "text."));
    if (const OrderedJson* const format = inner.find("format")) chat["response_format"] = *format;
  }
  if (const OrderedJson* const reasoning = fields.find("reasoning")) {
    HLWQ_TRY_ASSIGN(const Fields inner, Fields::of(*reasoning, "reasoning."));
    if (const OrderedJson* const effort = inner.find("effort")) chat["reasoning_effort"] = *effort;
  }
  HLWQ_TRY_ASSIGN(const Fields chat_fields, Fields::of(chat, ""));
  return chat_ask(chat_fields, messages);
}

}  // namespace hlwq::server
