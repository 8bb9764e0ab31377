#pragma once
// Tool calls in the JSON forms, byte by byte, from after the opening tag: one object
// {"name": NAME, "arguments": OBJECT}, or a list of such objects.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hlwq {

struct JsonCall {
  std::string name;
  std::string arguments;  // the JSON text of an object, as it was written
  bool operator==(const JsonCall&) const = default;
};

class JsonCallReader {
 public:
  // kBroken: this cannot become calls.
  enum class Step { kMore, kWhole, kBroken };

  explicit JsonCallReader(bool is_list) : opening_(is_list ? '[' : '{') {}

  Step push(char c);  // not after kWhole or kBroken
  // After kWhole, once: at least one.
  [[nodiscard]] std::vector<JsonCall> take_calls();

 private:
  Step on_string(char c);
  Step on_close();

  char opening_;
  std::string text_;  // from the opening bracket on
  int depth_ = 0;
  bool in_string_ = false;
  bool is_escaped_ = false;  // the next byte, in a string
  std::vector<JsonCall> calls_;
};

// The calls in `text`, an object or a list. A member "arguments" may be left out or null for none,
// and may be a string that holds the object. None when anything else is there in place of these.
[[nodiscard]] std::optional<std::vector<JsonCall>> parse_json_calls(std::string_view text);

}  // namespace hlwq
