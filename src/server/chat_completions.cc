#include "server/chat_completions.h"

#include <ctime>
#include <utility>

#include "server/api_error.h"
#include "server/chat_asking.h"
#include "server/event_stream.h"

namespace hlwq::server {
namespace {

struct ChatHead {
  std::string id = random_id("chatcmpl-");
  int64_t created = static_cast<int64_t>(std::time(nullptr));
  std::string model;

  [[nodiscard]] OrderedJson with(const char* object) const {
    OrderedJson json;
    json["id"] = id;
    json["object"] = object;
    json["created"] = created;
    json["model"] = model;
    json["choices"] = OrderedJson::array();
    return json;
  }
};

OrderedJson call_json(const ToolCall& call) {
  return {{"id", call.id},
          {"type", "function"},
          {"function", {{"name", call.name}, {"arguments", call.arguments}}}};
}

// Tokens of all choices; the prompt counts once.
struct Usage {
  int64_t prompt = 0, cached = 0, generated = 0, reasoning = 0;
  void add(const Reply& reply) {
    const GenerateResult& result = reply.result();
    reasoning += reply.reasoning_tokens();
    prompt = result.prompt_tokens;
    cached = std::max(cached, result.cached_tokens);
    generated += result.generated_tokens;
  }
  [[nodiscard]] OrderedJson json() const {
    return usage_json(prompt, cached, generated, reasoning);
  }
};

class ChatEvents : public EventWriter {
 public:
  ChatEvents(Context& context, ChatHead head, ReplyOptions reading, int64_t choices, bool usage)
      : context_(context), head_(std::move(head)), wants_usage_(usage) {
    for (int64_t i = 0; i < choices; ++i) replies_.emplace_back(reading);
  }

  std::string begin() override {
    std::string out;
    for (size_t i = 0; i < replies_.size(); ++i)
      out += chunk(static_cast<int64_t>(i), {{"role", "assistant"}, {"content", ""}}, {});
    return out;
  }

  std::string on(const AnswerEvent& event) override {
    Reply& reply = replies_[static_cast<size_t>(event.choice)];
    OrderedJson logprobs;
    if (event.logprobs)
      logprobs = {{"content", OrderedJson::array(
                                  {logprobs_json(context_.service.engine(), *event.logprobs)})}};
    std::string out;
    for (const ReplyEvent& part : reply.take_in(event)) {
      OrderedJson delta = delta_of(reply, part);
      if (delta.is_null()) continue;
      out += chunk(event.choice, std::move(delta), std::exchange(logprobs, {}));
    }
    // A token whose text is held back has its place in the stream all the same.
    if (!logprobs.is_null()) out += chunk(event.choice, OrderedJson::object(), std::move(logprobs));
    if (reply.ended()) {
      usage_.add(reply);
      out += chunk(event.choice, OrderedJson::object(), {}, reply.finish_reason());
    }
    return out;
  }

  std::string on_error(const Error& error) override { return sse(error_json(error)); }

  std::string end() override {
    std::string out;
    if (wants_usage_) {
      OrderedJson last = head_.with("chat.completion.chunk");
      last["usage"] = usage_.json();
      out += sse(last);
    }
    return out + "data: [DONE]\n\n";
  }

 private:
  static OrderedJson delta_of(const Reply& reply, const ReplyEvent& part) {
    switch (part.kind) {
      case ReplyEvent::Kind::kReasoning:
        return {{"reasoning_content", part.text}};
      case ReplyEvent::Kind::kContent:
        return {{"content", part.text}};
      case ReplyEvent::Kind::kCallBegin: {
        const ToolCall& call = reply.calls()[static_cast<size_t>(part.index)];
        OrderedJson begun = {{"index", part.index},
                             {"id", call.id},
                             {"type", "function"},
                             {"function", {{"name", call.name}, {"arguments", ""}}}};
        return {{"tool_calls", OrderedJson::array({std::move(begun)})}};
      }
      case ReplyEvent::Kind::kCallArguments: {
        OrderedJson piece = {{"index", part.index}, {"function", {{"arguments", part.text}}}};
        return {{"tool_calls", OrderedJson::array({std::move(piece)})}};
      }
      case ReplyEvent::Kind::kCallEnd:
        break;
    }
    return {};
  }

  std::string chunk(int64_t choice, OrderedJson delta, OrderedJson logprobs,
                    const std::string& finish_reason = {}) const {
    OrderedJson json = head_.with("chat.completion.chunk");
    OrderedJson one;
    one["index"] = choice;
    one["delta"] = std::move(delta);
    if (!logprobs.is_null()) one["logprobs"] = std::move(logprobs);
    one["finish_reason"] = finish_reason.empty() ? OrderedJson() : OrderedJson(finish_reason);
    json["choices"].push_back(std::move(one));
    if (wants_usage_) json["usage"] = nullptr;
    return sse(json);
  }

  Context& context_;
  ChatHead head_;
  std::vector<Reply> replies_;
  Usage usage_;
  bool wants_usage_;
};

OrderedJson choice_json(int64_t index, const Reply& reply, OrderedJson logprobs) {
  OrderedJson message;
  message["role"] = "assistant";
  const bool only_calls = reply.content().empty() && !reply.calls().empty();
  message["content"] = only_calls ? OrderedJson() : OrderedJson(reply.content());
  if (!reply.reasoning().empty()) message["reasoning_content"] = reply.reasoning();
  if (!reply.calls().empty()) {
    message["tool_calls"] = OrderedJson::array();
    for (const ToolCall& call : reply.calls()) message["tool_calls"].push_back(call_json(call));
  }
  OrderedJson choice;
  choice["index"] = index;
  choice["message"] = std::move(message);
  choice["logprobs"] =
      logprobs.is_null() ? OrderedJson() : OrderedJson{{"content", std::move(logprobs)}};
  choice["finish_reason"] = reply.finish_reason();
  return choice;
}

void answer_whole(Context& context, const ChatHead& head, const ChatAsk& ask, AskedChat asked,
                  httplib::Response& response) {
  asked.reading.stream_arguments = false;  // a call that breaks off is content then
  const auto choices = static_cast<size_t>(ask.settings.choices);
  std::vector<Reply> replies;
  for (size_t i = 0; i < choices; ++i) replies.emplace_back(asked.reading);
  std::vector<OrderedJson> logprobs(choices);
  while (!asked.answers->all_taken()) {
    const auto events = wait_for_events(asked.answers);
    if (events.empty()) return;  // the client is gone
    for (const AnswerEvent& event : events) {
      if (event.ended && !*event.ended) return answer_error(response, event.ended->error());
      const auto choice = static_cast<size_t>(event.choice);
      static_cast<void>(replies[choice].take_in(event));
      if (!event.logprobs) continue;
      if (logprobs[choice].is_null()) logprobs[choice] = OrderedJson::array();
      logprobs[choice].push_back(logprobs_json(context.service.engine(), *event.logprobs));
    }
  }
  OrderedJson json = head.with("chat.completion");
  Usage usage;
  for (size_t i = 0; i < choices; ++i) {
    usage.add(replies[i]);
    json["choices"].push_back(
        choice_json(static_cast<int64_t>(i), replies[i], std::move(logprobs[i])));
  }
  json["usage"] = usage.json();
  answer_json(response, json);
}

}  // namespace

OrderedJson logprobs_json(const Engine& engine, const TokenLogprobs& logprobs) {
  const auto one = [&](const LogprobOf& token) {
    const std::string bytes = engine.token_bytes(token.id);
    OrderedJson json;
    json["token"] = bytes;  // U+FFFD for parts of characters, when it is written
    json["logprob"] = std::max(token.logprob, -9999.0f);  // minus infinity is no JSON number
    json["bytes"] = OrderedJson::array();
    for (const char byte : bytes) json["bytes"].push_back(static_cast<uint8_t>(byte));
    return json;
  };
  OrderedJson json = one(logprobs.chosen);
  json["top_logprobs"] = OrderedJson::array();
  for (const LogprobOf& token : logprobs.top) json["top_logprobs"].push_back(one(token));
  return json;
}

OrderedJson usage_json(int64_t prompt_tokens, int64_t cached_tokens, int64_t generated_tokens,
                       int64_t reasoning_tokens) {
  return {{"prompt_tokens", prompt_tokens},
          {"completion_tokens", generated_tokens},
          {"total_tokens", prompt_tokens + generated_tokens},
          {"prompt_tokens_details", {{"cached_tokens", cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", reasoning_tokens}}}};
}

void answer_chat(Context& context, const OrderedJson& body, httplib::Response& response) {
  const auto fields = Fields::of(body, "");
  if (!fields) return answer_error(response, fields.error());
  const auto ask = read_chat(*fields);
  if (!ask) return answer_error(response, ask.error());
  auto asked = ask_chat(context, *ask);
  if (!asked) return answer_error(response, asked.error());
  ChatHead head;
  head.model = ask->settings.model.empty() ? context.model : ask->settings.model;
  if (!ask->settings.stream) return answer_whole(context, head, *ask, std::move(*asked), response);
  auto writer = std::make_shared<ChatEvents>(context, std::move(head), asked->reading,
                                             ask->settings.choices, ask->settings.stream_usage);
  stream_answers(response, std::move(asked->answers), std::move(writer));
}

}  // namespace hlwq::server
