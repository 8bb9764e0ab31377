#include "server/responses.h"

#include <ctime>
#include <utility>

#include "server/api_error.h"
#include "server/chat_asking.h"
#include "server/event_stream.h"
#include "server/reply.h"
#include "server/responses_request.h"

namespace hlwq::server {
namespace {

// The response as it grows: a list of items (a thought, a message, calls), of which the last may be
// open. Every change is an event too, for streams.
class ResponseItems {
 public:
  enum class Kind { kReasoning, kMessage, kCall };

  // Events of one part of the reply, in order.
  void add(const Reply& reply, const ReplyEvent& part) {
    switch (part.kind) {
      case ReplyEvent::Kind::kReasoning:
        open(Kind::kReasoning);
        grow("response.reasoning_text.delta", part.text);
        break;
      case ReplyEvent::Kind::kContent:
        open(Kind::kMessage);
        grow("response.output_text.delta", part.text);
        break;
      case ReplyEvent::Kind::kCallBegin:
        close("completed");
        call_ = &reply.calls()[static_cast<size_t>(part.index)];
        open(Kind::kCall);
        break;
      case ReplyEvent::Kind::kCallArguments:
        grow("response.function_call_arguments.delta", part.text);
        break;
      case ReplyEvent::Kind::kCallEnd:
        close("completed");
        break;
    }
  }

  void close(const char* status) {
    if (!is_open_) return;
    is_open_ = false;
    OrderedJson& item = items_.back();
    if (kind_ == Kind::kCall) {
      event("response.function_call_arguments.done", {{"item_id", item["id"]},
                                                      {"output_index", index()},
                                                      {"name", item["name"]},
                                                      {"arguments", item["arguments"]}});
    } else {
      const char* const done =
          kind_ == Kind::kMessage ? "response.output_text.done" : "response.reasoning_text.done";
      OrderedJson text = place(item);
      text["text"] = text_;
      if (kind_ == Kind::kMessage) text["logprobs"] = OrderedJson::array();
      event(done, std::move(text));
      item["content"] = OrderedJson::array({part_json(text_)});
      OrderedJson part = place(item);
      part["part"] = part_json(text_);
      event("response.content_part.done", std::move(part));
    }
    item["status"] = status;
    event("response.output_item.done", {{"output_index", index()}, {"item", item}});
  }

  [[nodiscard]] const OrderedJson& json() const { return items_; }
  [[nodiscard]] std::vector<OrderedJson> take_events() { return std::exchange(events_, {}); }

 private:
  void open(Kind kind) {
    if (is_open_ && kind_ == kind && kind != Kind::kCall) return;
    close("completed");
    is_open_ = true;
    kind_ = kind;
    text_.clear();
    OrderedJson item;
    if (kind == Kind::kCall) {
      item = {{"type", "function_call"},
              {"id", random_id("fc_")},
              {"call_id", call_->id},
              {"name", call_->name},
              {"arguments", ""}};
    } else if (kind == Kind::kMessage) {
      item = {{"type", "message"},
              {"id", random_id("msg_")},
              {"role", "assistant"},
              {"content", OrderedJson::array()}};
    } else {
      item = {{"type", "reasoning"},
              {"id", random_id("rs_")},
              {"summary", OrderedJson::array()},
              {"content", OrderedJson::array()}};
    }
    item["status"] = "in_progress";
    items_.push_back(std::move(item));
    event("response.output_item.added", {{"output_index", index()}, {"item", items_.back()}});
    if (kind == Kind::kCall) return;
    OrderedJson part = place(items_.back());
    part["part"] = part_json("");
    event("response.content_part.added", std::move(part));
  }

  void grow(const char* type, const std::string& text) {
    OrderedJson& item = items_.back();
    OrderedJson delta = kind_ == Kind::kCall
                            ? OrderedJson{{"item_id", item["id"]}, {"output_index", index()}}
                            : place(item);
    delta["delta"] = text;
    if (kind_ == Kind::kMessage) delta["logprobs"] = OrderedJson::array();
    if (kind_ == Kind::kCall) {
      item["arguments"].get_ref<std::string&>() += text;
    } else {
      text_ += text;
    }
    event(type, std::move(delta));
  }

  [[nodiscard]] size_t index() const { return items_.size() - 1; }
  [[nodiscard]] OrderedJson place(const OrderedJson& item) const {
    return {{"item_id", item["id"]}, {"output_index", index()}, {"content_index", 0}};
  }
  [[nodiscard]] OrderedJson part_json(const std::string& text) const {
    if (kind_ == Kind::kReasoning) return {{"type", "reasoning_text"}, {"text", text}};
    return {{"type", "output_text"}, {"text", text}, {"annotations", OrderedJson::array()}};
  }
  void event(const char* type, OrderedJson rest) {
    OrderedJson json;
    json["type"] = type;
    json.update(rest);
    events_.push_back(std::move(json));
  }

  OrderedJson items_ = OrderedJson::array();
  std::vector<OrderedJson> events_;
  Kind kind_ = Kind::kMessage;
  bool is_open_ = false;
  std::string text_;  // of the open item
  const ToolCall* call_ = nullptr;
};

OrderedJson or_null(const OrderedJson* value) { return value == nullptr ? OrderedJson() : *value; }

// What a response says of its request, with the fields clients read even when unused.
OrderedJson response_head(const Context& context, const Fields& fields, const ChatAsk& ask) {
  OrderedJson json;
  json["id"] = random_id("resp_");
  json["object"] = "response";
  json["created_at"] = static_cast<int64_t>(std::time(nullptr));
  json["status"] = "in_progress";
  json["error"] = nullptr;
  json["incomplete_details"] = nullptr;
  json["instructions"] = or_null(fields.find("instructions"));
  json["max_output_tokens"] = or_null(fields.find("max_output_tokens"));
  json["model"] = ask.settings.model.empty() ? context.model : ask.settings.model;
  json["output"] = OrderedJson::array();
  json["parallel_tool_calls"] = true;
  json["previous_response_id"] = nullptr;
  json["store"] = false;
  json["temperature"] = or_null(fields.find("temperature"));
  json["text"] = fields.find("text") == nullptr ? OrderedJson{{"format", {{"type", "text"}}}}
                                                : *fields.find("text");
  json["tool_choice"] =
      fields.find("tool_choice") == nullptr ? OrderedJson("auto") : *fields.find("tool_choice");
  json["tools"] = fields.find("tools") == nullptr ? OrderedJson::array() : *fields.find("tools");
  json["top_p"] = or_null(fields.find("top_p"));
  json["truncation"] = "disabled";
  json["usage"] = nullptr;
  json["metadata"] =
      fields.find("metadata") == nullptr ? OrderedJson::object() : *fields.find("metadata");
  return json;
}

// Closes the response: status, output, usage.
void finish(OrderedJson& json, const Reply& reply, ResponseItems& items) {
  const bool is_cut = reply.finish_reason() == "length";
  items.close(is_cut ? "incomplete" : "completed");
  json["status"] = is_cut ? "incomplete" : "completed";
  if (is_cut) json["incomplete_details"] = {{"reason", "max_output_tokens"}};
  json["output"] = items.json();
  const GenerateResult& result = reply.result();
  json["usage"] = {{"input_tokens", result.prompt_tokens},
                   {"input_tokens_details", {{"cached_tokens", result.cached_tokens}}},
                   {"output_tokens", result.generated_tokens},
                   {"output_tokens_details", {{"reasoning_tokens", reply.reasoning_tokens()}}},
                   {"total_tokens", result.prompt_tokens + result.generated_tokens}};
}

class ResponseEvents : public EventWriter {
 public:
  ResponseEvents(OrderedJson head, ReplyOptions reading)
      : json_(std::move(head)), reply_(std::move(reading)) {}

  std::string begin() override {
    std::string out = numbered({{"type", "response.created"}, {"response", json_}});
    return out += numbered({{"type", "response.in_progress"}, {"response", json_}});
  }
  std::string on(const AnswerEvent& event) override {
    for (const ReplyEvent& part : reply_.take_in(event)) items_.add(reply_, part);
    if (reply_.ended()) finish(json_, reply_, items_);
    std::string out;
    for (OrderedJson& each : items_.take_events()) out += numbered(std::move(each));
    return out;
  }
  std::string on_error(const Error& error) override {
    json_["status"] = "failed";
    json_["error"] = {{"code", "server_error"}, {"message", error.message}};
    return numbered({{"type", "response.failed"}, {"response", json_}});
  }
  std::string end() override {
    const bool is_whole = json_["status"] == "completed";
    return numbered(
        {{"type", is_whole ? "response.completed" : "response.incomplete"}, {"response", json_}});
  }

 private:
  std::string numbered(OrderedJson event) {
    event["sequence_number"] = next_++;
    return sse(event["type"].get<std::string>(), event);
  }

  OrderedJson json_;
  Reply reply_;
  ResponseItems items_;
  int64_t next_ = 0;
};

}  // namespace

void answer_response(Context& context, const OrderedJson& body, httplib::Response& response) {
  const auto fields = Fields::of(body, "");
  if (!fields) return answer_error(response, fields.error());
  const auto ask = read_responses(*fields);
  if (!ask) return answer_error(response, ask.error());
  auto asked = ask_chat(context, *ask);
  if (!asked) return answer_error(response, asked.error());
  OrderedJson json = response_head(context, *fields, *ask);
  if (ask->settings.stream)
    return stream_answers(response, std::move(asked->answers),
                          std::make_shared<ResponseEvents>(std::move(json), asked->reading));
  asked->reading.stream_arguments = false;
  Reply reply(asked->reading);
  ResponseItems items;
  while (!asked->answers->all_taken()) {
    const auto events = wait_for_events(asked->answers);
    if (events.empty()) return;  // the client is gone
    for (const AnswerEvent& event : events) {
      if (event.ended && !*event.ended) return answer_error(response, event.ended->error());
      for (const ReplyEvent& part : reply.take_in(event)) items.add(reply, part);
    }
  }
  finish(json, reply, items);
  answer_json(response, json);
}

}  // namespace hlwq::server
