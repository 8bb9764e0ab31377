#include "server/chat_request.h"

#include <gtest/gtest.h>

#include "server/responses_request.h"

namespace hlwq::server {
namespace {

Result<ChatAsk> chat(const char* body) {
  const OrderedJson json = OrderedJson::parse(body);
  const auto fields = Fields::of(json, "");
  return read_chat(*fields);
}

Result<ChatAsk> responses(const char* body) {
  const OrderedJson json = OrderedJson::parse(body);
  const auto fields = Fields::of(json, "");
  return read_responses(*fields);
}

TEST(ChatRequest, ReadsWhatClientsSend) {
  const auto ask = chat(R"({"model": "any", "messages": [
      {"role": "developer", "content": "Be brief."},
      {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
      {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function",
        "function": {"name": "f", "arguments": "{\"z\": 1, \"a\": 2}"}}]},
      {"role": "tool", "tool_call_id": "1", "content": "done"}],
      "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
      "max_completion_tokens": 7, "temperature": 0.5, "top_k": -1, "stop": ["x", "y"], "seed": -1,
      "logit_bias": {"5": -100}, "logprobs": true, "top_logprobs": 3, "n": 2, "stream": true,
      "stream_options": {"include_usage": true}, "user": "somebody",
      "chat_template_kwargs": {"enable_thinking": false, "other": 1}})");
  ASSERT_TRUE(ask) << ask.error().message;
  EXPECT_EQ(OrderedJson::parse(ask->prompt.messages).dump(),
            R"([{"role":"system","content":"Be brief."},{"role":"user","content":"ab"},)"
            R"({"role":"assistant","content":"","tool_calls":[{"id":"1","type":"function",)"
            R"("function":{"name":"f","arguments":{"z":1,"a":2}}}]},)"
            R"({"role":"tool","tool_call_id":"1","content":"done"}])");
  const ServiceRequest& request = ask->settings.request;
  EXPECT_EQ(request.max_tokens, 7);
  EXPECT_EQ(request.sampling.temperature, 0.5);
  EXPECT_EQ(request.sampling.top_k, 0);
  EXPECT_EQ(request.sampling.seed, (int64_t{1} << 53) - 1);
  EXPECT_EQ(request.stop, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(request.logprobs, 3);
  EXPECT_EQ(ask->settings.choices, 2);
  EXPECT_TRUE(ask->settings.stream && ask->settings.stream_usage);
  EXPECT_EQ(ask->prompt.enable_thinking, false);
  EXPECT_EQ(ask->prompt.variables, R"({"other":1})");
  ASSERT_EQ(ask->tools.size(), 1u);
  EXPECT_EQ(ask->format.kind, OutputFormat::Kind::kText);
}

TEST(ChatRequest, ForcesToolsAndFormats) {
  const std::string tools =
      R"("messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function",
         "function": {"name": "f"}}, {"type": "function", "function": {"name": "g"}}])";
  auto ask = chat(("{" + tools + R"(, "tool_choice": "required"})").c_str());
  ASSERT_TRUE(ask);
  EXPECT_EQ(ask->format.kind, OutputFormat::Kind::kToolCalls);
  EXPECT_TRUE(ask->format.parallel_calls);
  ask = chat(("{" + tools + R"(, "tool_choice": {"type": "function", "function": {"name": "g"}}})")
                 .c_str());
  ASSERT_TRUE(ask);
  EXPECT_EQ(ask->format.tool, "g");
  EXPECT_FALSE(ask->format.parallel_calls);
  ask = chat(("{" + tools + R"(, "tool_choice": "none"})").c_str());
  ASSERT_TRUE(ask);
  EXPECT_TRUE(ask->prompt.tools.empty() && ask->tools.empty());
  ask = chat(R"({"messages": [{"role": "user", "content": "x"}], "response_format": {"type":
      "json_schema", "json_schema": {"name": "n", "schema": {"type": "integer"}}}})");
  ASSERT_TRUE(ask);
  EXPECT_EQ(ask->format.kind, OutputFormat::Kind::kJsonSchema);
  EXPECT_EQ(ask->format.schema, R"({"type":"integer"})");
}

// Each with the word its message must hold.
TEST(ChatRequest, RefusesByName) {
  const std::pair<const char*, const char*> cases[] = {
      {R"([])", "body"},
      {R"({})", "messages"},
      {R"({"messages": []})", "messages"},
      {R"({"messages": [5]})", "messages[0]"},
      {R"({"messages": [{"role": "robot", "content": ""}]})", "messages[0].role"},
      {R"({"messages": [{"role": "user"}]})", "messages[0].content"},
      {R"({"messages": [{"role": "user", "content": 5}]})", "messages[0].content"},
      {R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})", "type"},
  };
  for (const auto& [body, word] : cases) {
    const OrderedJson json = OrderedJson::parse(body);
    const auto fields = Fields::of(json, "");
    const auto ask = fields ? read_chat(*fields) : Result<ChatAsk>(tl::unexpected(fields.error()));
    ASSERT_FALSE(ask) << body;
    EXPECT_NE(ask.error().message.find(word), std::string::npos) << ask.error().message;
  }
  for (const auto& [field, value] : std::initializer_list<std::pair<const char*, const char*>>{
           {"temperature", "-0.1"},
           {"temperature", "\"warm\""},
           {"temperature", "1e999"},
           {"top_p", "1.5"},
           {"max_tokens", "0"},
           {"max_tokens", "1.5"},
           {"max_tokens", "1e300"},
           {"n", "65"},
           {"n", "-1"},
           {"seed", "1e30"},
           {"stop", "[\"\"]"},
           {"stop", "5"},
           {"logit_bias", "[1]"},
           {"logit_bias", "{\"a\": 1}"},
           {"logit_bias", "{\"1\": 101}"},
           {"top_logprobs", "2"},
           {"stream", "1"},
           {"tools", "{}"},
           {"tools", "[{}]"},
           {"tool_choice", "\"required\""},
           {"response_format", "5"},
           {"response_format", "{\"type\": \"xml\"}"},
           {"functions", "[]"},
           {"chat_template_kwargs", "[]"},
           {"presence_penalty", "3"}}) {
    const std::string body = std::string(R"({"messages": [{"role": "user", "content": "x"}], ")") +
                             field + "\": " + value + "}";
    const OrderedJson json = OrderedJson::parse(body, nullptr, false);
    if (json.is_discarded()) continue;  // 1e999 is refused before
    const auto fields = Fields::of(json, "");
    const auto ask = read_chat(*fields);
    ASSERT_FALSE(ask) << body;
    EXPECT_NE(ask.error().message.find(field), std::string::npos) << ask.error().message;
  }
}

TEST(ResponsesRequest, BecomesAChat) {
  const auto ask = responses(R"({"instructions": "Be brief.", "input": [
      {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
      {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]},
      {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "yes"}]},
      {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
      {"type": "function_call_output", "call_id": "c", "output": "3"}],
      "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
      "max_output_tokens": 9, "text": {"format": {"type": "json_object"}},
      "reasoning": {"effort": "none"}})");
  ASSERT_TRUE(ask) << ask.error().message;
  EXPECT_EQ(
      OrderedJson::parse(ask->prompt.messages).dump(),
      R"([{"role":"system","content":"Be brief."},{"role":"user","content":"hi"},)"
      R"({"role":"assistant","content":"yes","reasoning_content":"hm","tool_calls":[{"id":"c",)"
      R"("type":"function","function":{"name":"f","arguments":{}}}]},)"
      R"({"role":"tool","tool_call_id":"c","content":"3"}])");
  EXPECT_EQ(ask->settings.request.max_tokens, 9);
  EXPECT_EQ(ask->format.kind, OutputFormat::Kind::kJsonObject);
  EXPECT_EQ(ask->prompt.enable_thinking, false);
  EXPECT_EQ(ask->tools.at(0).name, "f");
  EXPECT_EQ(responses(R"({"input": "x", "previous_response_id": "r"})").error().code,
            ErrorCode::kUnsupported);
  EXPECT_FALSE(responses(R"({})"));
  EXPECT_FALSE(responses(R"({"input": [{"type": "computer_call"}]})"));
}

}  // namespace
}  // namespace hlwq::server
