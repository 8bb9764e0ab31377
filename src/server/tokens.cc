#include "server/tokens.h"

#include <fmt/format.h>

#include "server/api_error.h"
#include "server/chat_request.h"

namespace hlwq::server {
namespace {

Result<std::vector<int32_t>> ids_of(const Engine& engine, const Fields& fields) {
  if (fields.find("messages") != nullptr) {
    HLWQ_TRY_ASSIGN(ChatAsk ask, read_chat(fields));
    HLWQ_TRY_ASSIGN(const auto generation, fields.boolean("add_generation_prompt"));
    ask.prompt.add_generation_prompt = generation.value_or(true);
    HLWQ_TRY_ASSIGN(ChatPrompt prompt, engine.chat_prompt(ask.prompt));
    return std::move(prompt.ids);
  }
  const char* const name = fields.find("prompt") == nullptr ? "content" : "prompt";
  HLWQ_TRY_ASSIGN(const auto text, fields.text(name));
  if (!text) return fail(ErrorCode::kInvalidArgument, "prompt: missing");
  HLWQ_TRY_ASSIGN(const auto special, fields.boolean("add_special_tokens"));
  return engine.tokenize(*text, special.value_or(true));
}

Result<OrderedJson> tokenized(const Engine& engine, const OrderedJson& body) {
  HLWQ_TRY_ASSIGN(const Fields fields, Fields::of(body, ""));
  HLWQ_TRY_ASSIGN(const std::vector<int32_t> ids, ids_of(engine, fields));
  HLWQ_TRY_ASSIGN(const auto strings, fields.boolean("return_token_strs"));
  OrderedJson json = {
      {"count", ids.size()}, {"max_model_len", engine.info().context}, {"tokens", ids}};
  if (strings.value_or(false)) {
    json["token_strs"] = OrderedJson::array();
    for (const int32_t id : ids) json["token_strs"].push_back(engine.token_bytes(id));
  }
  return json;
}

Result<OrderedJson> detokenized(const Engine& engine, const OrderedJson& body) {
  HLWQ_TRY_ASSIGN(const Fields fields, Fields::of(body, ""));
  const OrderedJson* const tokens = fields.find("tokens");
  if (tokens == nullptr || !tokens->is_array())
    return fields.wrong("tokens", tokens == nullptr ? OrderedJson() : *tokens,
                        "an array of token ids");
  std::vector<int32_t> ids;
  for (const OrderedJson& id : *tokens) {
    const bool fits = id.is_number_integer() && id.get<int64_t>() >= 0 &&
                      id.get<int64_t>() < engine.info().vocabulary;
    if (!fits)
      return fields.wrong("tokens", id, fmt::format("ids below {}", engine.info().vocabulary));
    ids.push_back(id.get<int32_t>());
  }
  HLWQ_TRY_ASSIGN(const auto skip, fields.boolean("skip_special_tokens"));
  HLWQ_TRY_ASSIGN(const std::string text, engine.detokenize(ids, skip.value_or(false)));
  return OrderedJson{{"prompt", text}};
}

void answer(const Result<OrderedJson>& json, httplib::Response& response) {
  if (!json) return answer_error(response, json.error());
  answer_json(response, *json);
}

}  // namespace

void answer_tokenize(Context& context, const OrderedJson& body, httplib::Response& response) {
  answer(tokenized(context.service.engine(), body), response);
}

void answer_detokenize(Context& context, const OrderedJson& body, httplib::Response& response) {
  answer(detokenized(context.service.engine(), body), response);
}

}  // namespace hlwq::server
