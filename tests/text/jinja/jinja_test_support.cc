#include "tests/text/jinja/jinja_test_support.h"

#include <gtest/gtest.h>

namespace hlwq::jinja {

std::tm vectors_time() {
  std::tm time = {};
  time.tm_year = 125;
  time.tm_mday = 2;
  time.tm_hour = 3;
  time.tm_min = 4;
  time.tm_sec = 5;
  time.tm_wday = 4;
  time.tm_yday = 1;
  return time;
}

Result<Rendered> render(std::string_view source, const OrderedJson& context, const std::string& bos,
                        const std::string& eos) {
  HLWQ_TRY_ASSIGN(const ChatTemplate compiled, ChatTemplate::compile(source, "test", bos, eos));
  ChatContext chat;
  chat.now = vectors_time();
  chat.extra = OrderedJson::object();
  for (const auto& [name, value] : context.items()) {
    if (name == "messages") {
      chat.messages = value;
    } else if (name == "tools") {
      chat.tools = value;
    } else if (name == "add_generation_prompt") {
      chat.add_generation_prompt = value.get<bool>();
    } else if (name == "enable_thinking") {
      chat.enable_thinking = value.get<bool>();
    } else {
      chat.extra[name] = value;
    }
  }
  return compiled.render(chat);
}

std::string text_of(std::string_view source, const OrderedJson& context) {
  const Result<Rendered> rendered = render(source, context);
  EXPECT_TRUE(rendered) << source.substr(0, 200) << ": " << rendered.error().message;
  return rendered ? rendered->text : "";
}

Error error_of(std::string_view source, const OrderedJson& context) {
  const Result<Rendered> rendered = render(source, context);
  EXPECT_FALSE(rendered) << source.substr(0, 200) << " gives " << rendered->text.substr(0, 200);
  return rendered ? Error() : rendered.error();
}

std::string marked(std::string_view source, const OrderedJson& context) {
  const Result<Rendered> rendered = render(source, context);
  EXPECT_TRUE(rendered) << source << ": " << rendered.error().message;
  if (!rendered) return "";
  std::string shown;
  size_t at = 0;
  for (const ByteRange& range : rendered->data) {
    EXPECT_LT(range.begin, range.end);
    EXPECT_TRUE(at == 0 || range.begin > at) << "ranges touch";
    shown += rendered->text.substr(at, range.begin - at);
    shown += "«" + rendered->text.substr(range.begin, range.end - range.begin) + "»";
    at = range.end;
  }
  return shown + rendered->text.substr(at);
}

}  // namespace hlwq::jinja
