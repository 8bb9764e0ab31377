#pragma once
// Replies parsed in every way of cutting them.

#include <ostream>
#include <string_view>
#include <vector>

#include "text/reply/reply_parser.h"

namespace hlwq {

std::ostream& operator<<(std::ostream& out, const ReplyEvent& event);  // for gtest's messages

// The events with the texts of neighbours of one kind and index joined.
std::vector<ReplyEvent> joined(const std::vector<ReplyEvent>& events);

// Joined events of `text` pushed whole; fails the test unless they are the same byte by byte, and
// when the text is not long in pieces of several lengths and cut at each one place too.
std::vector<ReplyEvent> parse_reply(const ReplyOptions& options, std::string_view text);

ReplyEvent reasoning(std::string_view text);
ReplyEvent content(std::string_view text);
// The events of a whole call.
std::vector<ReplyEvent> call(int index, std::string_view name, std::string_view arguments);
std::vector<ReplyEvent> operator+(std::vector<ReplyEvent> events,
                                  const std::vector<ReplyEvent>& more);
std::vector<ReplyEvent> operator+(std::vector<ReplyEvent> events, const ReplyEvent& event);

}  // namespace hlwq
