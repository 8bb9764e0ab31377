#include "server/chat_asking.h"

#include <utility>

namespace hlwq::server {

Result<AskedChat> ask_chat(Context& context, const ChatAsk& ask) {
  const Engine& engine = context.service.engine();
  const ChatAbilities abilities = engine.chat_abilities();
  if (!ask.prompt.tools.empty() && !abilities.tools)
    return fail(ErrorCode::kUnsupported, "tools: the model's chat template has none");
  HLWQ_TRY_ASSIGN(ChatPrompt prompt, engine.chat_prompt(ask.prompt));
  AskedChat asked;
  asked.prompt_tokens = static_cast<int64_t>(prompt.ids.size());
  asked.reading.thinking = thinking_after(prompt.text);
  if (!ask.tools.empty()) asked.reading.tools = detect_tool_format(abilities.source);
  asked.reading.specs = ask.tools;
  asked.reading.stream_arguments = true;
  ServiceRequest request = ask.settings.request;
  request.ids = std::move(prompt.ids);
  request.anchors = std::move(prompt.anchors);
  request.format = ask.format;
  request.format.after_reasoning = asked.reading.thinking == Thinking::kOpen;
  request.shown_tokens = {"<think>",      "</think>",   "<tool_call>",
                          "</tool_call>", "<TOOLCALL>", "</TOOLCALL>"};
  HLWQ_TRY_ASSIGN(asked.answers, Answers::ask(context.service, {&request, 1}, ask.settings.choices,
                                              /*every_token=*/false, context.metrics));
  return asked;
}

}  // namespace hlwq::server
