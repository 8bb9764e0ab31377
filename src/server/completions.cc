#include "server/completions.h"

#include <fmt/format.h>

#include <ctime>
#include <utility>

#include "server/api_error.h"
#include "server/chat_completions.h"
#include "server/event_stream.h"
#include "server/request_settings.h"

namespace hlwq::server {
namespace {

struct CompletionAsk {
  RequestSettings settings;
  std::vector<std::vector<int32_t>> prompts;
  bool token_ids = false;  // return_token_ids: the ids of answers beside their text
};

Result<std::vector<int32_t>> prompt_ids(const Engine& engine, const Fields& fields,
                                        const OrderedJson& prompt) {
  if (prompt.is_string()) return engine.tokenize(prompt.get_ref<const std::string&>());
  std::vector<int32_t> ids;
  for (const OrderedJson& id : prompt) {
    const bool fits = id.is_number_integer() && id.get<int64_t>() >= 0 &&
                      id.get<int64_t>() < engine.info().vocabulary;
    if (!fits)
      return fields.wrong("prompt", id,
                          fmt::format("token ids below {}", engine.info().vocabulary));
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

// A text, token ids, or an array of either.
Status read_prompts(const Engine& engine, const Fields& fields, CompletionAsk& ask) {
  const OrderedJson* const prompt = fields.find("prompt");
  if (prompt == nullptr) return fail(ErrorCode::kInvalidArgument, "prompt: missing");
  const bool is_many = prompt->is_array() && !prompt->empty() &&
                       (prompt->front().is_string() || prompt->front().is_array());
  if (!is_many) {
    if (!prompt->is_string() && !prompt->is_array())
      return fields.wrong("prompt", *prompt, "a string, token ids, or an array of these");
    HLWQ_TRY_ASSIGN(auto ids, prompt_ids(engine, fields, *prompt));
    ask.prompts.push_back(std::move(ids));
    return {};
  }
  if (prompt->size() > kMostPrompts)
    return fields.wrong("prompt", *prompt, fmt::format("at most {} prompts", kMostPrompts));
  for (const OrderedJson& one : *prompt) {
    if (!one.is_string() && !one.is_array())
      return fields.wrong("prompt", one, "strings or arrays of token ids");
    HLWQ_TRY_ASSIGN(auto ids, prompt_ids(engine, fields, one));
    ask.prompts.push_back(std::move(ids));
  }
  return {};
}

Result<CompletionAsk> read_completion(const Engine& engine, const Fields& fields) {
  CompletionAsk ask;
  HLWQ_TRY_ASSIGN(ask.settings, read_settings(fields));
  if (!ask.settings.request.max_tokens) ask.settings.request.max_tokens = 16;  // as OpenAI's
  HLWQ_TRY_ASSIGN(const auto logprobs, fields.integer("logprobs", 0, kMostLogprobs));
  ask.settings.request.logprobs = logprobs.value_or(-1);
  HLWQ_TRY_ASSIGN(const auto echo, fields.boolean("echo"));
  if (echo.value_or(false)) return fail(ErrorCode::kUnsupported, "echo: not supported");
  if (fields.find("suffix") != nullptr)
    return fail(ErrorCode::kUnsupported, "suffix: not supported");
  HLWQ_TRY_ASSIGN(const auto best_of, fields.integer("best_of", 1, kMostChoices));
  if (best_of && *best_of != ask.settings.choices)
    return fail(ErrorCode::kUnsupported, "best_of: only the same as n is supported");
  HLWQ_TRY_ASSIGN(const auto token_ids, fields.boolean("return_token_ids"));
  ask.token_ids = token_ids.value_or(false);
  HLWQ_TRY(read_prompts(engine, fields, ask));
  return ask;
}

// The logprobs of a choice in the form that completions have them.
struct TextLogprobs {
  OrderedJson tokens = OrderedJson::array(), logprobs = OrderedJson::array();
  OrderedJson top = OrderedJson::array(), offsets = OrderedJson::array();

  void add(const Engine& engine, const TokenLogprobs& token, size_t offset) {
    const auto shown_as = [&](const LogprobOf& one) { return std::max(one.logprob, -9999.0f); };
    tokens.push_back(engine.token_bytes(token.chosen.id));
    logprobs.push_back(shown_as(token.chosen));
    OrderedJson others = OrderedJson::object();
    for (const LogprobOf& other : token.top) others[engine.token_bytes(other.id)] = shown_as(other);
    top.push_back(std::move(others));
    offsets.push_back(offset);
  }
  [[nodiscard]] OrderedJson take() {
    if (tokens.empty()) return nullptr;
    return {{"tokens", std::exchange(tokens, OrderedJson::array())},
            {"token_logprobs", std::exchange(logprobs, OrderedJson::array())},
            {"top_logprobs", std::exchange(top, OrderedJson::array())},
            {"text_offset", std::exchange(offsets, OrderedJson::array())}};
  }
};

struct TextChoice {
  std::string text;
  std::vector<int32_t> ids;
  TextLogprobs logprobs;
  std::optional<GenerateResult> result;

  void take_in(const Engine& engine, const AnswerEvent& event) {
    if (event.logprobs) logprobs.add(engine, *event.logprobs, text.size());
    text += event.text;
    ids.insert(ids.end(), event.ids.begin(), event.ids.end());
    if (event.ended) result = **event.ended;
  }
};

class TextAnswer {
 public:
  TextAnswer(Context& context, const CompletionAsk& ask)
      : context_(context),
        model_(ask.settings.model.empty() ? context.model : ask.settings.model),
        choices_(ask.prompts.size() * static_cast<size_t>(ask.settings.choices)),
        choices_of_prompt_(static_cast<size_t>(ask.settings.choices)),
        token_ids_(ask.token_ids) {}

  [[nodiscard]] OrderedJson head() const {
    OrderedJson json;
    json["id"] = id_;
    json["object"] = "text_completion";
    json["created"] = created_;
    json["model"] = model_;
    json["choices"] = OrderedJson::array();
    return json;
  }
  [[nodiscard]] TextChoice& choice(size_t index) { return choices_[index]; }
  [[nodiscard]] size_t size() const { return choices_.size(); }
  [[nodiscard]] const Engine& engine() const { return context_.service.engine(); }

  [[nodiscard]] OrderedJson choice_json(size_t index, std::string_view text) {
    TextChoice& one = choices_[index];
    OrderedJson json;
    json["index"] = index;
    json["text"] = text;
    json["logprobs"] = one.logprobs.take();
    if (token_ids_) json["token_ids"] = std::exchange(one.ids, {});
    json["finish_reason"] =
        one.result ? OrderedJson(openai_reason(one.result->finish_reason)) : OrderedJson();
    return json;
  }
  [[nodiscard]] OrderedJson usage() const {
    int64_t prompt = 0, cached = 0, generated = 0;
    for (size_t i = 0; i < choices_.size(); ++i) {
      const GenerateResult& result = *choices_[i].result;
      if (i % choices_of_prompt_ == 0) {
        prompt += result.prompt_tokens;
        cached += result.cached_tokens;
      }
      generated += result.generated_tokens;
    }
    return usage_json(prompt, cached, generated);
  }

 private:
  Context& context_;
  std::string id_ = random_id("cmpl-");
  int64_t created_ = static_cast<int64_t>(std::time(nullptr));
  std::string model_;
  std::vector<TextChoice> choices_;
  size_t choices_of_prompt_;
  bool token_ids_;
};

class TextEvents : public EventWriter {
 public:
  TextEvents(TextAnswer answer, bool usage) : answer_(std::move(answer)), wants_usage_(usage) {}

  std::string on(const AnswerEvent& event) override {
    const auto index = static_cast<size_t>(event.choice);
    answer_.choice(index).take_in(answer_.engine(), event);
    OrderedJson json = answer_.head();
    json["choices"].push_back(answer_.choice_json(index, event.text));
    return sse(json);
  }
  std::string on_error(const Error& error) override { return sse(error_json(error)); }
  std::string end() override {
    std::string out;
    if (wants_usage_) {
      OrderedJson last = answer_.head();
      last["usage"] = answer_.usage();
      out = sse(last);
    }
    return out + "data: [DONE]\n\n";
  }

 private:
  TextAnswer answer_;
  bool wants_usage_;
};

void answer_whole(TextAnswer answer, std::shared_ptr<Answers> answers,
                  httplib::Response& response) {
  while (!answers->all_taken()) {
    const auto events = wait_for_events(answers);
    if (events.empty()) return;  // the client is gone
    for (const AnswerEvent& event : events) {
      if (event.ended && !*event.ended) return answer_error(response, event.ended->error());
      answer.choice(static_cast<size_t>(event.choice)).take_in(answer.engine(), event);
    }
  }
  OrderedJson json = answer.head();
  for (size_t i = 0; i < answer.size(); ++i)
    json["choices"].push_back(answer.choice_json(i, answer.choice(i).text));
  json["usage"] = answer.usage();
  answer_json(response, json);
}

}  // namespace

void answer_completion(Context& context, const OrderedJson& body, httplib::Response& response) {
  const auto fields = Fields::of(body, "");
  if (!fields) return answer_error(response, fields.error());
  auto ask = read_completion(context.service.engine(), *fields);
  if (!ask) return answer_error(response, ask.error());
  std::vector<ServiceRequest> requests;
  for (std::vector<int32_t>& prompt : ask->prompts) {
    ServiceRequest request = ask->settings.request;
    request.ids = std::move(prompt);
    requests.push_back(std::move(request));
  }
  auto answers = Answers::ask(context.service, requests, ask->settings.choices, ask->token_ids,
                              context.metrics);
  if (!answers) return answer_error(response, answers.error());
  TextAnswer answer(context, *ask);
  if (!ask->settings.stream) return answer_whole(std::move(answer), std::move(*answers), response);
  stream_answers(response, std::move(*answers),
                 std::make_shared<TextEvents>(std::move(answer), ask->settings.stream_usage));
}

}  // namespace hlwq::server
