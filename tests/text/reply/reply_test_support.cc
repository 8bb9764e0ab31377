#include "tests/text/reply/reply_test_support.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace hlwq {
namespace {

constexpr size_t kLongText = 4096;  // bytes; longer ones are cut one way only, for time

// The reply in pieces: a first one of `first` bytes, the others of `length`.
std::vector<ReplyEvent> parse_cut(const ReplyOptions& options, std::string_view text, size_t first,
                                  size_t length) {
  ReplyParser parser(options);
  std::vector<ReplyEvent> events = parser.push(text.substr(0, first));
  for (size_t at = std::min(first, text.size()); at < text.size(); at += length)
    events = events + parser.push(text.substr(at, length));
  return joined(events + parser.finish());
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const ReplyEvent& event) {
  constexpr const char* kKinds[] = {"reasoning", "content", "begin", "arguments", "end"};
  return out << kKinds[static_cast<int>(event.kind)] << ' ' << event.index << ' '
             << testing::PrintToString(event.text) << '\n';
}

std::vector<ReplyEvent> joined(const std::vector<ReplyEvent>& events) {
  std::vector<ReplyEvent> result;
  for (const ReplyEvent& event : events) {
    const bool continues =
        !result.empty() && result.back().kind == event.kind && result.back().index == event.index;
    if (continues) {
      result.back().text += event.text;
    } else {
      result.push_back(event);
    }
  }
  return result;
}

std::vector<ReplyEvent> parse_reply(const ReplyOptions& options, std::string_view text) {
  const std::vector<ReplyEvent> whole = parse_cut(options, text, text.size(), 1);
  for (const size_t length : {1, 2, 3, 5, 7, 11, 13}) {
    EXPECT_EQ(parse_cut(options, text, 0, length), whole) << "pieces of " << length << ": " << text;
    if (text.size() > kLongText) return whole;
  }
  for (size_t first = 0; first < text.size(); ++first) {
    EXPECT_EQ(parse_cut(options, text, first, text.size()), whole)
        << "cut at " << first << ": " << text;
  }
  return whole;
}

ReplyEvent reasoning(std::string_view text) {
  return {ReplyEvent::Kind::kReasoning, std::string(text)};
}

ReplyEvent content(std::string_view text) {
  return {ReplyEvent::Kind::kContent, std::string(text)};
}

std::vector<ReplyEvent> call(int index, std::string_view name, std::string_view arguments) {
  return {{ReplyEvent::Kind::kCallBegin, std::string(name), index},
          {ReplyEvent::Kind::kCallArguments, std::string(arguments), index},
          {ReplyEvent::Kind::kCallEnd, {}, index}};
}

std::vector<ReplyEvent> operator+(std::vector<ReplyEvent> events,
                                  const std::vector<ReplyEvent>& more) {
  events.insert(events.end(), more.begin(), more.end());
  return events;
}

std::vector<ReplyEvent> operator+(std::vector<ReplyEvent> events, const ReplyEvent& event) {
  events.push_back(event);
  return events;
}

}  // namespace hlwq
