#include "text/reply/reply_parser.h"

#include <span>
#include <utility>

namespace hlwq {
namespace {

constexpr std::string_view kThink = "<think>";
constexpr std::string_view kEndThink = "</think>";

bool is_newline(char c) { return c == '\n' || c == '\r'; }

bool is_nemotron_v2(const ReplyOptions& options) {
  return options.tools == ToolFormat::kNemotronV2;
}

}  // namespace

Thinking thinking_after(std::string_view prompt) {
  prompt = prompt.substr(0, prompt.find_last_not_of(kTagSpace) + 1);
  if (prompt.ends_with(kThink)) return Thinking::kOpen;
  return prompt.ends_with(kEndThink) ? Thinking::kClosed : Thinking::kFree;
}

ReplyParser::ReplyParser(ReplyOptions options)
    : options_(std::move(options)),
      opening_(is_nemotron_v2(options_) ? "<TOOLCALL>" : "<tool_call>"),
      closing_(is_nemotron_v2(options_) ? "</TOOLCALL>" : "</tool_call>"),
      thought_(kEndThink, kTagSpace, kMostTagSpace),
      content_(opening_, kTagSpace, kMostTagSpace) {
  if (options_.thinking == Thinking::kOpen) state_ = State::kReasoning;
}

std::vector<ReplyEvent> ReplyParser::push(std::string_view text) {
  for (const char c : text) on_byte(c);
  return std::exchange(events_, {});
}

std::vector<ReplyEvent> ReplyParser::finish() {
  if (state_ == State::kStart) {
    begin_content();
    const std::string read = start_.take();
    for (const char c : read) on_content(c);
  }
  if (state_ == State::kReasoning && held_thought_) give_up_thought();
  if (state_ == State::kReasoning && options_.parse_reasoning)
    emit(Kind::kReasoning, thought_.held());
  if (state_ == State::kCall) give_up_call();
  if (state_ == State::kContent && !(after_call_ && content_.holds_only_space()))
    emit(Kind::kContent, content_.held());
  return std::exchange(events_, {});
}

void ReplyParser::on_byte(char c) {
  switch (state_) {
    case State::kStart:
      return on_start(c);
    case State::kReasoning:
      return on_reasoning(c);
    case State::kAfterReasoning:
      if (is_newline(c)) return;
      begin_content();
      return on_content(c);
    case State::kContent:
      return on_content(c);
    case State::kCall:
      return on_call(c);
    case State::kAfterCall:
      return on_after_call(c);
  }
}

void ReplyParser::on_start(char c) {
  const TagExpecter::Step step = start_.push(c, std::span(&kThink, 1));
  if (step == TagExpecter::Step::kMore) return;
  const std::string read = start_.take();
  if (step == TagExpecter::Step::kOther) {
    begin_content();
    for (const char byte : read) on_content(byte);
    return;
  }
  state_ = State::kReasoning;
  if (!options_.parse_reasoning) {
    emit(Kind::kContent, read);
  } else if (options_.thinking == Thinking::kClosed) {
    raw_ = read;
    held_thought_.emplace();
  }
}

void ReplyParser::on_reasoning(char c) {
  std::string text;
  if (!options_.parse_reasoning) {
    emit(Kind::kContent, {&c, 1});
    if (thought_.push(c, text)) begin_content();
    return;
  }
  if (held_thought_) raw_ += c;
  if (!thought_begun_ && is_newline(c)) return;
  thought_begun_ = true;
  const bool found = thought_.push(c, text);
  if (!held_thought_) {
    emit(Kind::kReasoning, text);
  } else {
    *held_thought_ += text;
    if (found) emit(Kind::kReasoning, *held_thought_);
  }
  if (found) {
    state_ = State::kAfterReasoning;
  } else if (held_thought_ && raw_.size() > kMostThoughtBytes) {
    give_up_thought();
  }
}

void ReplyParser::give_up_thought() {
  held_thought_.reset();
  begin_content();
  emit(Kind::kContent, std::exchange(raw_, {}));
}

void ReplyParser::begin_content() {
  state_ = State::kContent;
  content_.clear();
  after_call_ = false;
}

void ReplyParser::on_content(char c) {
  if (!options_.tools) return emit(Kind::kContent, {&c, 1});
  std::string text;
  const bool found = content_.push(c, text);
  if (!text.empty()) after_call_ = false;
  emit(Kind::kContent, text);
  if (found) begin_call();
}

void ReplyParser::begin_call() {
  raw_ = content_.held();
  content_.clear();
  if (calls_ == kMostCalls) {
    after_call_ = false;
    return emit(Kind::kContent, std::exchange(raw_, {}));
  }
  state_ = State::kCall;
  call_given_ = false;
  if (options_.tools == ToolFormat::kXml) {
    xml_.emplace(options_.specs);
  } else {
    json_.emplace(options_.tools == ToolFormat::kNemotronV2);
  }
}

void ReplyParser::on_call(char c) {
  raw_ += c;
  if (xml_) {
    on_xml(c);
  } else {
    on_json(c);
  }
  if (state_ == State::kCall && raw_.size() > kMostCallBytes) give_up_call();
}

void ReplyParser::on_xml(char c) {
  const XmlCall::Step step = xml_->push(c);
  if (step == XmlCall::Step::kBroken) return give_up_call();
  const bool is_whole = step == XmlCall::Step::kWhole;
  if (!is_whole && !(options_.stream_arguments && xml_->has_name())) return;
  give_call(xml_->name());
  emit(Kind::kCallArguments, xml_->take_arguments(), calls_ - 1);
  if (!is_whole) return;
  end_call();
}

void ReplyParser::on_json(char c) {
  const JsonCallReader::Step step = json_->push(c);
  if (step == JsonCallReader::Step::kMore) return;
  if (step == JsonCallReader::Step::kBroken) return give_up_call();
  const std::vector<JsonCall> calls = json_->take_calls();
  if (calls.size() > static_cast<size_t>(kMostCalls - calls_)) return give_up_call();
  for (const JsonCall& call : calls) {
    give_call(call.name);
    emit(Kind::kCallArguments, call.arguments, calls_ - 1);
    end_call();
  }
}

// The kCallBegin of a call, once.
void ReplyParser::give_call(std::string_view name) {
  if (std::exchange(call_given_, true)) return;
  events_.push_back({Kind::kCallBegin, std::string(name), calls_++});
}

void ReplyParser::end_call() {
  events_.push_back({Kind::kCallEnd, {}, calls_ - 1});
  call_given_ = false;
  xml_.reset();
  json_.reset();
  raw_.clear();
  after_.clear();
  state_ = State::kAfterCall;
}

void ReplyParser::give_up_call() {
  std::string_view rest = raw_;
  if (call_given_) rest.remove_prefix(rest.size() - xml_->held_bytes());
  // What broke the call may begin another.
  size_t restart = rest.rfind('<');
  if (restart == std::string_view::npos || rest.substr(restart) == opening_ ||
      !opening_.starts_with(rest.substr(restart)))
    restart = rest.size();
  begin_content();
  emit(Kind::kContent, rest.substr(0, restart));
  for (const char c : rest.substr(restart)) on_content(c);
  xml_.reset();
  json_.reset();
  raw_.clear();
}

void ReplyParser::on_after_call(char c) {
  const TagExpecter::Step step = after_.push(c, std::span(&closing_, 1));
  if (step == TagExpecter::Step::kMore) return;
  const std::string read = after_.take();
  begin_content();
  after_call_ = true;
  if (step == TagExpecter::Step::kFound) return;
  for (const char byte : read) on_content(byte);
}

void ReplyParser::emit(Kind kind, std::string_view text, int index) {
  if (text.empty()) return;
  if (!events_.empty() && events_.back().kind == kind && events_.back().index == index) {
    events_.back().text += text;
  } else {
    events_.push_back({kind, std::string(text), index});
  }
}

}  // namespace hlwq
