#include "text/reply/xml_call.h"

#include <algorithm>
#include <utility>

#include "text/reply/json_pieces.h"

namespace hlwq {
namespace {

constexpr std::string_view kFunction[] = {"<function="};
constexpr std::string_view kParameterOrEnd[] = {"<parameter=", "</function>"};
constexpr size_t kParameter = 0;  // in kParameterOrEnd

bool may_be_in_name(char c) { return static_cast<unsigned char>(c) >= ' ' && c != '<' && c != '>'; }

}  // namespace

XmlCall::Step XmlCall::push(char c) {
  ++held_bytes_;
  switch (state_) {
    case State::kFunctionTag:
      return on_function_tag(c);
    case State::kName:
      return on_name(c);
    case State::kBetween:
      return on_between(c);
    case State::kKey:
      return on_key(c);
    case State::kValue:
      return on_value(c);
    case State::kAfterValue:
      return on_after_value(c);
  }
  return Step::kBroken;
}

std::string XmlCall::take_arguments() { return std::exchange(arguments_, {}); }

XmlCall::Step XmlCall::on_function_tag(char c) {
  const TagExpecter::Step step = expecter_.push(c, kFunction);
  if (step == TagExpecter::Step::kOther) return Step::kBroken;
  if (step == TagExpecter::Step::kFound) state_ = State::kName;
  return Step::kMore;
}

XmlCall::Step XmlCall::on_name(char c) {
  if (c == '>' && !name_.empty()) {
    arguments_ = "{";
    held_bytes_ = 0;
    expecter_.clear();
    state_ = State::kBetween;
    return Step::kMore;
  }
  if (!may_be_in_name(c) || name_.size() == kMostNameBytes) return Step::kBroken;
  name_ += c;
  return Step::kMore;
}

XmlCall::Step XmlCall::on_between(char c) {
  const TagExpecter::Step step = expecter_.push(c, kParameterOrEnd);
  if (step == TagExpecter::Step::kMore) return Step::kMore;
  if (step == TagExpecter::Step::kOther) return Step::kBroken;
  if (expecter_.tag() != kParameter) return end_arguments();
  begin_key();
  return Step::kMore;
}

void XmlCall::begin_key() {
  key_.clear();
  state_ = State::kKey;
}

XmlCall::Step XmlCall::on_key(char c) {
  if (c == '>' && !key_.empty()) return begin_parameter() ? Step::kMore : Step::kBroken;
  if (!may_be_in_name(c) || key_.size() == kMostNameBytes) return Step::kBroken;
  key_ += c;
  return Step::kMore;
}

// False when the parameter is there already.
bool XmlCall::begin_parameter() {
  const bool is_first = keys_.empty();
  if (!keys_.insert(key_).second) return false;
  const auto spec = std::find_if(specs_.begin(), specs_.end(),
                                 [&](const ToolSpec& tool) { return tool.name == name_; });
  types_ = spec == specs_.end() ? ParameterTypes{} : parameter_types(spec->parameters, key_);
  if (types_.only_string()) {
    arguments_ += is_first ? "\"" : ", \"";
    append_json_escaped(key_, arguments_);
    arguments_ += "\": \"";
    held_bytes_ = 0;
  }
  value_.clear();
  splitter_.clear();
  at_value_begin_ = true;
  state_ = State::kValue;
  return true;
}

XmlCall::Step XmlCall::on_value(char c) {
  if (std::exchange(at_value_begin_, false) && c == '\n') return Step::kMore;
  std::string text;
  const bool found = splitter_.push(c, text);
  add_to_value(text);
  if (types_.only_string()) held_bytes_ = splitter_.held_bytes();
  if (found) {
    expecter_.clear();
    state_ = State::kAfterValue;
  }
  return Step::kMore;
}

void XmlCall::add_to_value(std::string_view text) {
  if (types_.only_string()) {
    append_json_escaped(text, arguments_);
  } else {
    value_ += text;
  }
}

XmlCall::Step XmlCall::on_after_value(char c) {
  const TagExpecter::Step step = expecter_.push(c, kParameterOrEnd);
  if (step == TagExpecter::Step::kMore) return Step::kMore;
  if (step == TagExpecter::Step::kFound) {
    end_value();
    if (expecter_.tag() != kParameter) return end_arguments();
    held_bytes_ = kParameterOrEnd[kParameter].size();
    begin_key();
    return Step::kMore;
  }
  // The tag was a part of the value. What was read after it holds no whole tag, so this ends.
  const std::string tag = splitter_.held();
  splitter_.clear();
  state_ = State::kValue;
  add_to_value(tag);
  const std::string after = expecter_.take();
  for (const char byte : after) on_value(byte);
  return Step::kMore;
}

void XmlCall::end_value() {
  if (types_.only_string()) {
    arguments_ += '"';
    return;
  }
  arguments_ += keys_.size() == 1 ? "\"" : ", \"";
  append_json_escaped(key_, arguments_);
  arguments_ += "\": ";
  arguments_ += parameter_json(value_, types_);
}

XmlCall::Step XmlCall::end_arguments() {
  arguments_ += '}';
  held_bytes_ = 0;
  return Step::kWhole;
}

}  // namespace hlwq
