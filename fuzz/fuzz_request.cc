// Links: hlwq::server
// Bodies of requests: any bytes are refused with a message or read, never more.

#include <cstdint>
#include <string_view>

#include "io/json.h"
#include "server/chat_request.h"
#include "server/request_head.h"
#include "server/responses_request.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hlwq;
  using namespace hlwq::server;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.find("\r\n\r\n") != std::string_view::npos)
    static_cast<void>(fault_of_head(text.substr(0, text.find("\r\n\r\n") + 4)));
  const auto body = parse_ordered_json(text, "body", {.bytes = 1 << 20, .depth = 128});
  if (!body) return 0;
  const auto fields = Fields::of(*body, "");
  if (!fields) return 0;
  if (const auto ask = read_chat(*fields); ask && ask->prompt.messages.empty()) __builtin_trap();
  if (const auto ask = read_responses(*fields); !ask && ask.error().message.empty())
    __builtin_trap();
  return 0;
}
