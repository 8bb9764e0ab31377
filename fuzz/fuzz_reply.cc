// Any text as a model's reply, with any options (the first byte): what comes out does not depend on
// how the text was cut, whole calls have a JSON object for arguments, and nothing is lost.
// Links: hlwq::text

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.h"
#include "io/json.h"
#include "text/reply/reply_parser.h"

namespace {

using Events = std::vector<hlwq::ReplyEvent>;
using Kind = hlwq::ReplyEvent::Kind;

void require(bool promise) {
  if (!promise) std::abort();
}

void append_joined(const Events& more, Events& events) {
  for (const hlwq::ReplyEvent& event : more) {
    if (!events.empty() && events.back().kind == event.kind && events.back().index == event.index) {
      events.back().text += event.text;
    } else {
      events.push_back(event);
    }
  }
}

// The lengths of the pieces, in turn, come from `cuts`; 0 is 256 bytes.
Events parse(const hlwq::ReplyOptions& options, std::string_view text, std::string_view cuts) {
  hlwq::ReplyParser parser(options);
  Events events;
  size_t piece = 0;
  while (!text.empty()) {
    const auto cut = static_cast<uint8_t>(cuts[piece++ % cuts.size()]);
    const std::string_view next = text.substr(0, cut == 0 ? 256 : cut);
    append_joined(parser.push(next), events);
    text.remove_prefix(next.size());
  }
  append_joined(parser.finish(), events);
  return events;
}

hlwq::ReplyOptions options_of(uint8_t flags) {
  static const nlohmann::ordered_json parameters = {{"properties",
                                                     {{"s", {{"type", "string"}}},
                                                      {"i", {{"type", "integer"}}},
                                                      {"o", {{"type", "object"}}},
                                                      {"b", {{"type", "boolean"}}},
                                                      {"n", {{"type", {"string", "null"}}}}}}};
  hlwq::ReplyOptions options{.thinking = static_cast<hlwq::Thinking>(flags % 3)};
  options.parse_reasoning = (flags & 4) == 0;
  options.stream_arguments = (flags & 8) != 0;
  if ((flags & 48) != 48) options.tools = static_cast<hlwq::ToolFormat>(flags >> 4 & 3);
  options.specs = {{"f", parameters}};
  return options;
}

// Begin, arguments and end of each call in order; an end only after an object.
void check_calls(const Events& events, bool may_break) {
  int calls = 0;
  bool is_open = false;
  std::string arguments;
  for (const hlwq::ReplyEvent& event : events) {
    switch (event.kind) {
      case Kind::kReasoning:
      case Kind::kContent:
        require(!event.text.empty() && event.index == -1 && (!is_open || may_break));
        is_open = false;
        break;
      case Kind::kCallBegin:
        require((!is_open || may_break) && event.index == calls++ && !event.text.empty());
        is_open = true;
        arguments.clear();
        break;
      case Kind::kCallArguments:
        require(is_open && event.index == calls - 1);
        arguments = event.text;
        break;
      case Kind::kCallEnd: {
        require(is_open && event.index == calls - 1);
        const hlwq::Result<hlwq::Json> object = hlwq::parse_json(arguments, "arguments");
        require(object && object->is_object() && hlwq::Json::accept(arguments));
        is_open = false;
        break;
      }
    }
  }
  require(calls <= hlwq::ReplyParser::kMostCalls && (!is_open || may_break));
}

// Without calls and reasoning the reply is the content.
void check_plain(hlwq::ReplyOptions options, std::string_view text) {
  options.tools.reset();
  options.parse_reasoning = false;
  const Events events = parse(options, text, "\x07");
  require(text.empty() ? events.empty() : events.size() == 1 && events[0].text == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  if (bytes < 4) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), bytes);
  const hlwq::ReplyOptions options = options_of(data[0]);
  std::string text;
  hlwq::append_replacing_invalid(input.substr(4), text);

  const Events whole = parse(options, text, std::string_view("\0", 1));
  require(parse(options, text, "\x01") == whole);
  require(parse(options, text, input.substr(1, 3)) == whole);
  check_calls(whole, options.stream_arguments);
  check_plain(options, text);
  return 0;
}
