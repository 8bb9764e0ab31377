#include "text/grammar/tool_grammar.h"

#include <gtest/gtest.h>

#include "tests/text/grammar/grammar_test_support.h"

namespace hlwq {
namespace {

std::vector<ToolSpec> weather_tools() {
  return {{"get_weather", OrderedJson::parse(R"({"type":"object","properties":{
             "city":{"type":"string"},"days":{"type":"integer","minimum":1,"maximum":7},
             "unit":{"type":"string","enum":["c","f"]},
             "where":{"type":"object","properties":{"lat":{"type":"number"}},
                      "additionalProperties":false},
             "note":{"type":"string","maxLength":5},"code":{"type":"string","pattern":"^[A-Z]+$"},
             "either":{"anyOf":[{"type":"integer"},{"type":"null"}]},"any":{}},
             "required":["city"],"additionalProperties":false})")},
          {"now", nullptr}};
}

Grammar tool_grammar(ToolFormat format, bool parallel) {
  const auto tools = weather_tools();
  auto grammar = tool_call_grammar(tools, format, parallel);
  EXPECT_TRUE(grammar) << grammar.error().message;
  return *grammar;
}

TEST(ToolGrammar, Xml) {
  const Grammar one = tool_grammar(ToolFormat::kXml, false);
  const auto call = [](const std::string& parameters) {
    return "<tool_call>\n<function=get_weather>\n" + parameters + "</function>\n</tool_call>";
  };
  const std::string city = "<parameter=city>\nBonn\n</parameter>\n";
  for (const std::string& parameters : {
           city,
           std::string("<parameter=city>\n\n</parameter>\n"),
           std::string("<parameter=city>\na\n</b>\n\"é\\ {\n\n</parameter>\n"),
           city + "<parameter=days>\n3\n</parameter>\n<parameter=unit>\nf\n</parameter>\n",
           city + "<parameter=where>\n{\"lat\": 1.5}\n</parameter>\n",
           city + "<parameter=note>\na\nb\n\n\n</parameter>\n",
           city + "<parameter=code>\nABC\n</parameter>\n",
           city + "<parameter=either>\nnull\n</parameter>\n",
           city + "<parameter=any>\nanything\n at all\n</parameter>\n",
       }) {
    EXPECT_TRUE(accepts(one, call(parameters))) << parameters;
  }
  for (const std::string& parameters : {
           std::string(),
           "<parameter=days>\n3\n</parameter>\n" + city,
           city + city,
           city + "<parameter=days>\n9\n</parameter>\n",
           city + "<parameter=unit>\n\"f\"\n</parameter>\n",
           city + "<parameter=note>\nabcdef\n</parameter>\n",
           city + "<parameter=code>\nAb\n</parameter>\n",
           city + "<parameter=either>\nx\n</parameter>\n",
           city + "<parameter=other>\nx\n</parameter>\n",
           std::string("<parameter=city>\na\n</parameter>x\n</parameter>\n"),
       }) {
    EXPECT_FALSE(accepts(one, call(parameters))) << parameters;
  }
  const std::string now = "<tool_call>\n<function=now>\n</function>\n</tool_call>";
  EXPECT_TRUE(accepts(one, now));
  EXPECT_FALSE(accepts(one, now + "\n" + now));
  EXPECT_FALSE(accepts(one, "<tool_call>\n<function=never>\n</function>\n</tool_call>"));
  const Grammar many = tool_grammar(ToolFormat::kXml, true);
  EXPECT_TRUE(accepts(many, now));
  EXPECT_TRUE(accepts(many, now + "\n" + call(city) + now));
  EXPECT_FALSE(accepts(many, ""));
  EXPECT_FALSE(accepts(many, now + "\n"));
}

TEST(ToolGrammar, Json) {
  const Grammar one = tool_grammar(ToolFormat::kJson, false);
  const auto call = [](const std::string& json) {
    return "<tool_call>\n" + json + "\n</tool_call>";
  };
  const std::string weather =
      call(R"({"name": "get_weather", "arguments": {"city": "Bonn\n</parameter>", "days": 2}})");
  const std::string now = call(R"({"name":"now","arguments":{}})");
  EXPECT_TRUE(accepts(one, weather));
  EXPECT_TRUE(accepts(one, now));
  EXPECT_FALSE(accepts(one, weather + "\n" + now));
  EXPECT_FALSE(accepts(one, call(R"({"name": "now", "arguments": {"a": 1}})")));
  EXPECT_FALSE(accepts(one, call(R"({"name": "get_weather", "arguments": {}})")));
  EXPECT_FALSE(accepts(one, call(R"({"name": "now"})")));
  EXPECT_FALSE(accepts(one, call(R"({"arguments": {}, "name": "now"})")));
  EXPECT_TRUE(accepts(tool_grammar(ToolFormat::kJson, true), weather + "\n" + now));
}

TEST(ToolGrammar, NemotronV2) {
  const Grammar one = tool_grammar(ToolFormat::kNemotronV2, false);
  const std::string now = R"({"name": "now", "arguments": {}})";
  EXPECT_TRUE(accepts(one, "<TOOLCALL>[" + now + "]</TOOLCALL>"));
  EXPECT_FALSE(accepts(one, "<TOOLCALL>[" + now + ", " + now + "]</TOOLCALL>"));
  EXPECT_FALSE(accepts(one, "<TOOLCALL>[]</TOOLCALL>"));
  const Grammar many = tool_grammar(ToolFormat::kNemotronV2, true);
  EXPECT_TRUE(accepts(many, "<TOOLCALL>[" + now + ", " + now + "]</TOOLCALL>"));
}

TEST(ToolGrammar, RandomCallsHoldValidArguments) {
  const auto tools = weather_tools();
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const std::string text = random_text(tool_grammar(ToolFormat::kNemotronV2, true), seed);
    constexpr std::string_view kBegin = "<TOOLCALL>";
    constexpr std::string_view kEnd = "</TOOLCALL>";
    ASSERT_TRUE(text.starts_with(kBegin) && text.ends_with(kEnd)) << text;
    const auto calls = OrderedJson::parse(
        text.substr(kBegin.size(), text.size() - kBegin.size() - kEnd.size()), nullptr, false);
    ASSERT_FALSE(calls.is_discarded()) << text;
    for (const OrderedJson& call : calls) {
      if (call.at("name") == "now") {
        EXPECT_EQ(call.at("arguments"), OrderedJson::object());
      } else {
        EXPECT_EQ(violation(tools[0].parameters, call.at("arguments")), "") << text;
      }
    }
  }
}

TEST(ToolGrammar, RandomXmlParametersEndWhereTheirTagsSay) {
  // Bounded, so that random texts end.
  const std::vector<ToolSpec> tools = {
      {"f", OrderedJson::parse(R"({"properties":{"s":{"type":"string","minLength":1,"maxLength":6},
          "n":{"type":["integer","null"]},"e":{"enum":["x","y\nz",7]},
          "o":{"type":["string","boolean"],"maxLength":9}},"required":["s","e"]})")}};
  const auto grammar = tool_call_grammar(tools, ToolFormat::kXml, false);
  ASSERT_TRUE(grammar) << grammar.error().message;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const std::string text = random_text(*grammar, seed);
    std::string_view rest = text;
    const auto take = [&](std::string_view part) {
      if (!rest.starts_with(part)) return false;
      rest.remove_prefix(part.size());
      return true;
    };
    ASSERT_TRUE(take("<tool_call>\n<function=f>\n")) << text;
    while (take("<parameter=")) {
      const std::string_view key = rest.substr(0, 1);
      rest.remove_prefix(1);
      ASSERT_TRUE(take(">\n")) << text;
      const std::string value(rest.substr(0, rest.find("\n</parameter>")));
      rest.remove_prefix(value.size());
      ASSERT_TRUE(take("\n</parameter>\n")) << text;
      const OrderedJson& schema = tools[0].parameters["properties"][std::string(key)];
      const OrderedJson json = OrderedJson::parse(value, nullptr, false);
      const bool is_json = !json.is_discarded() && violation(schema, json).empty();
      ASSERT_TRUE(is_json || violation(schema, value).empty()) << text;
    }
    ASSERT_EQ(rest, "</function>\n</tool_call>") << text;
  }
}

TEST(ToolGrammar, RefusesToolsThatItCannotWrite) {
  const auto message = [](std::vector<ToolSpec> tools, ToolFormat format, ErrorCode code) {
    const auto grammar = tool_call_grammar(tools, format, true);
    if (grammar) return std::string("not refused");
    EXPECT_EQ(grammar.error().code, code);
    return grammar.error().message;
  };
  const auto bad = ErrorCode::kInvalidArgument;
  EXPECT_NE(message({}, ToolFormat::kXml, bad), "not refused");
  EXPECT_NE(message({{"", nullptr}}, ToolFormat::kJson, bad), "not refused");
  EXPECT_NE(message({{"a>b", nullptr}}, ToolFormat::kXml, bad), "not refused");
  EXPECT_NE(message({{"a\n", nullptr}}, ToolFormat::kXml, bad), "not refused");
  EXPECT_NE(message({{"a", nullptr}, {"a", nullptr}}, ToolFormat::kXml, bad), "not refused");
  for (const ToolFormat format : {ToolFormat::kXml, ToolFormat::kJson, ToolFormat::kNemotronV2}) {
    EXPECT_NE(message({{"f", 17}}, format, bad), "not refused");
    EXPECT_NE(message({{"f", {{"type", "string"}}}}, format, bad), "not refused");
    const OrderedJson schema = {{"properties", {{"x", {{"multipleOf", 2}}}}}};
    const std::string text =
        message({{"ok", nullptr}, {"f", schema}}, format, ErrorCode::kUnsupported);
    EXPECT_NE(text.find("tool \"f\": parameters: #/properties/x/multipleOf"), std::string::npos)
        << text;
  }
  EXPECT_NE(message({{"f", {{"properties", {{"a<b", {{"type", "null"}}}}}}}}, ToolFormat::kXml,
                    ErrorCode::kUnsupported),
            "not refused");
  EXPECT_NE(message({{"f", {{"properties", {{"a", {{"enum", {"x\n</parameter>"}}}}}}}}},
                    ToolFormat::kXml, ErrorCode::kUnsupported),
            "not refused");
}

}  // namespace
}  // namespace hlwq
