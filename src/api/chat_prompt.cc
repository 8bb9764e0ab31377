// Chats: from messages to ids.

#include <algorithm>
#include <ctime>

#include "api/engine_impl.h"
#include "api/guard.h"
#include "io/json.h"
#include "text/chat_template.h"

namespace hlwq {
namespace {

Result<OrderedJson> parse_or(std::string_view text, std::string_view where, OrderedJson otherwise) {
  if (text.empty()) return otherwise;
  return parse_ordered_json(text, where);
}

// How many of the first ids lie within so many bytes of their text.
int64_t ids_within(const Tokenizer& tokenizer, std::span<const int32_t> ids, size_t bytes) {
  size_t end = 0;
  const auto beyond = std::find_if(ids.begin(), ids.end(), [&](int32_t id) {
    end += tokenizer.bytes(id).size();
    return end > bytes;
  });
  return beyond - ids.begin();
}

}  // namespace

Result<ChatPrompt> Engine::chat_prompt(const ChatRequest& request) const {
  return guarded([&]() -> Result<ChatPrompt> {
    if (!impl_->tokenizer) return tl::unexpected(impl_->tokenizer.error());
    if (!impl_->chat_template) return tl::unexpected(impl_->chat_template.error());
    ChatContext context;
    HLWQ_TRY_ASSIGN(context.messages, parse_ordered_json(request.messages, "messages"));
    HLWQ_TRY_ASSIGN(context.tools, parse_or(request.tools, "tools", OrderedJson()));
    HLWQ_TRY_ASSIGN(context.extra, parse_or(request.variables, "variables", OrderedJson()));
    const std::time_t now = std::time(nullptr);
    localtime_r(&now, &context.now);
    context.add_generation_prompt = request.add_generation_prompt;
    context.enable_thinking = request.enable_thinking;
    HLWQ_TRY_ASSIGN(const Rendered whole, impl_->chat_template->render(context));
    ChatPrompt prompt;
    HLWQ_TRY_ASSIGN(prompt.ids, encode_rendered(*impl_->tokenizer, whole));
    prompt.text = whole.text;
    // The next turn's prompt goes on after the last message, not after what opens the answer.
    if (request.add_generation_prompt) {
      context.add_generation_prompt = false;
      if (const auto closed = impl_->chat_template->render(context);
          closed && whole.text.starts_with(closed->text)) {
        prompt.anchors.push_back(ids_within(*impl_->tokenizer, prompt.ids, closed->text.size()));
      }
    }
    return prompt;
  });
}

ChatAbilities Engine::chat_abilities() const {
  const Result<ChatTemplate>& own = impl_->chat_template;
  if (!own) return {};
  return {.has_template = true,
          .thinking = own->uses("enable_thinking"),
          .tools = impl_->tool_format.has_value() && own->uses("tools"),
          .source = own->source()};
}

std::string Engine::token_bytes(int32_t id) const {
  return impl_->tokenizer ? std::string(impl_->tokenizer->bytes(id)) : std::string();
}

}  // namespace hlwq
