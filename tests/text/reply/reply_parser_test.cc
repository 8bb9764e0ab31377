#include "text/reply/reply_parser.h"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "tests/text/reply/reply_test_support.h"

namespace hlwq {
namespace {

using Events = std::vector<ReplyEvent>;
using Schema = nlohmann::ordered_json;

const ReplyOptions kOpen{.thinking = Thinking::kOpen};
const ReplyOptions kFree{.thinking = Thinking::kFree};
const ReplyOptions kClosed{.thinking = Thinking::kClosed};

ReplyOptions with_tools(ToolFormat format, Thinking thinking = Thinking::kFree) {
  const Schema parameters = Schema::parse(R"({"type": "object", "properties": {
      "city": {"type": "string"}, "days": {"type": "integer"}, "exact": {"type": "boolean"},
      "near": {"type": "array", "items": {"type": "string"}}}})");
  return {.thinking = thinking, .tools = format, .specs = {{"weather", parameters}}};
}

ReplyOptions xml_streamed() {
  ReplyOptions options = with_tools(ToolFormat::kXml);
  options.stream_arguments = true;
  return options;
}

const ReplyOptions kXml = with_tools(ToolFormat::kXml);
const ReplyOptions kJson = with_tools(ToolFormat::kJson);
const ReplyOptions kNemotronV2 = with_tools(ToolFormat::kNemotronV2);

constexpr std::string_view kWeatherXml =
    "<tool_call>\n<function=weather>\n<parameter=city>\nParis\n</parameter>\n"
    "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>";
constexpr std::string_view kWeatherArguments = R"({"city": "Paris", "days": 3})";
constexpr std::string_view kWeatherJson =
    "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\", \"days\": "
    "3}}\n</tool_call>";

std::string operator+(std::string_view a, std::string_view b) { return std::string(a) += b; }

// As content, byte for byte.
void expect_only_content(const ReplyOptions& options, std::string_view text) {
  EXPECT_EQ(parse_reply(options, text), Events{content(text)});
}

TEST(ThinkingAfter, ReadsThePromptsEnd) {
  EXPECT_EQ(thinking_after("<|im_start|>assistant\n<think>\n"), Thinking::kOpen);
  EXPECT_EQ(thinking_after("<|im_start|>assistant\n<think></think>"), Thinking::kClosed);
  EXPECT_EQ(thinking_after("<|im_start|>assistant\n<think>\n\n</think>\n\n"), Thinking::kClosed);
  EXPECT_EQ(thinking_after("<|im_start|>assistant\n"), Thinking::kFree);
  EXPECT_EQ(thinking_after("<think>a</think>b"), Thinking::kFree);
  EXPECT_EQ(thinking_after(""), Thinking::kFree);
  EXPECT_EQ(thinking_after(" \n"), Thinking::kFree);
}

TEST(ReplyParser, PlainAnswersAreUntouched) {
  for (const ReplyOptions& options : {kFree, kClosed, kXml, kJson, kNemotronV2}) {
    for (const std::string_view text :
         {"Hello", "\n\n  Hello \n\n", " ", "\n", "a < b </ c", "<", "<<<", "<thin",
          "x<think>y</think>z", "</think>", "<tool_cal", "a\n<TOOLCAL", "</tool_call>",
          "\xF0\x9F\x98\x80 \xE4\xB8\xAD\n", "a\r\nb\t", "<think"})
      expect_only_content(options, text);
  }
  EXPECT_EQ(parse_reply(kFree, ""), Events{});
  EXPECT_EQ(parse_reply(kXml, ""), Events{});
}

TEST(ReplyParser, NothingIsHeldWithoutReason) {
  ReplyParser parser(with_tools(ToolFormat::kXml, Thinking::kOpen));
  EXPECT_EQ(parser.push("Let me"), Events{reasoning("Let me")});
  EXPECT_EQ(parser.push(" see.</th"), Events{reasoning(" see.")});
  EXPECT_EQ(parser.push("e"), Events{reasoning("</the")});
  EXPECT_EQ(parser.push("</think>\n\nSo"), Events{content("So")});
  EXPECT_EQ(parser.push(" it is \n"), Events{content(" it is")});
  EXPECT_EQ(parser.push("1 <"), Events{content(" \n1")});
  EXPECT_EQ(parser.push(" 2"), Events{content(" < 2")});
  EXPECT_EQ(parser.finish(), Events{});
}

TEST(ReplyParser, ReasoningThatThePromptOpened) {
  EXPECT_EQ(parse_reply(kOpen, "\nI think.\n</think>\n\nYes.\n"),
            (Events{reasoning("I think."), content("Yes.\n")}));
  EXPECT_EQ(parse_reply(kOpen, "I think"), Events{reasoning("I think")});
  EXPECT_EQ(parse_reply(kOpen, "a </thin"), Events{reasoning("a </thin")});
  EXPECT_EQ(parse_reply(kOpen, "</think>Yes"), Events{content("Yes")});
  EXPECT_EQ(parse_reply(kOpen, "\n\n</think>\n"), Events{});
  EXPECT_EQ(parse_reply(kOpen, "a</think>  indented\n"),
            (Events{reasoning("a"), content("  indented\n")}));
  EXPECT_EQ(parse_reply(kOpen, "a \n b</think>c"), (Events{reasoning("a \n b"), content("c")}));
}

TEST(ReplyParser, ThinkTwice) {
  EXPECT_EQ(parse_reply(kOpen, "<think>a</think>b"), (Events{reasoning("<think>a"), content("b")}));
  EXPECT_EQ(parse_reply(kFree, "<think><think>a</think>b</think>c"),
            (Events{reasoning("<think>a"), content("b</think>c")}));
  EXPECT_EQ(parse_reply(kFree, "<think>a</think><think>b</think>"),
            (Events{reasoning("a"), content("<think>b</think>")}));
}

TEST(ReplyParser, ReasoningThatTheReplyOpens) {
  EXPECT_EQ(parse_reply(kFree, "<think>\nI think.\n</think>\n\nYes."),
            (Events{reasoning("I think."), content("Yes.")}));
  EXPECT_EQ(parse_reply(kFree, " \n<think>a</think>b"), (Events{reasoning("a"), content("b")}));
  EXPECT_EQ(parse_reply(kFree, "<think>a"), Events{reasoning("a")});
  expect_only_content(kFree, std::string(65, '\n') + "<think>a</think>");
}

TEST(ReplyParser, WithThinkingOffOnlyAClosedThoughtIsOne) {
  EXPECT_EQ(parse_reply(kClosed, "\n<think>\na\n</think>\nb"),
            (Events{reasoning("a"), content("b")}));
  expect_only_content(kClosed, "\n<think>\na\n");
  expect_only_content(kClosed, "<think>a </thin");
  expect_only_content(kClosed,
                      "<think>" + std::string(ReplyParser::kMostThoughtBytes, 'a') + "</think>");
}

TEST(ReplyParser, TagsStayWhenReasoningIsNotParsed) {
  for (ReplyOptions options : {kOpen, kFree, kClosed}) {
    options.parse_reasoning = false;
    expect_only_content(options, "\n<think>\na\n</think>\n\nb");
    expect_only_content(options, "<think>a");
    options.tools = ToolFormat::kXml;
    EXPECT_EQ(parse_reply(options, "<think>" + kWeatherXml + "</think>\n" + kWeatherXml),
              Events{content("<think>" + kWeatherXml + "</think>")} +
                  call(0, "weather", R"({"city": "Paris", "days": 3})"));
  }
}

TEST(ReplyParser, CallsInReasoningAreNone) {
  EXPECT_EQ(parse_reply(with_tools(ToolFormat::kXml, Thinking::kOpen),
                        kWeatherXml + "\n</think>\n" + kWeatherXml),
            Events{reasoning(kWeatherXml)} + call(0, "weather", R"({"city": "Paris", "days": 3})"));
}

TEST(ReplyParser, OneCallInEachFormat) {
  EXPECT_EQ(parse_reply(kXml, kWeatherXml), call(0, "weather", kWeatherArguments));
  EXPECT_EQ(parse_reply(kJson, kWeatherJson), call(0, "weather", kWeatherArguments));
  EXPECT_EQ(
      parse_reply(kNemotronV2,
                  R"(<TOOLCALL>[{"name": "weather", "arguments": {"city":"Paris"}}]</TOOLCALL>)"),
      call(0, "weather", R"({"city":"Paris"})"));
  for (const ReplyOptions& options : {kFree, kJson, kNemotronV2})
    expect_only_content(options, kWeatherXml);
  for (const ReplyOptions& options : {kFree, kXml, kNemotronV2})
    expect_only_content(options, kWeatherJson);
}

TEST(ReplyParser, WhiteSpaceAroundCalls) {
  EXPECT_EQ(parse_reply(kXml, " Let me look.\n\n " + kWeatherXml + "\n" + kWeatherXml + "\n"),
            Events{content(" Let me look.")} + call(0, "weather", kWeatherArguments) +
                call(1, "weather", kWeatherArguments));
  EXPECT_EQ(parse_reply(kXml, "\n" + kWeatherXml + "\n\nThere."),
            call(0, "weather", kWeatherArguments) + content("\n\nThere."));
  EXPECT_EQ(parse_reply(kXml, "a" + std::string(70, ' ') + kWeatherXml),
            Events{content("a      ")} + call(0, "weather", kWeatherArguments));
  EXPECT_EQ(
      parse_reply(kXml, "<tool_call><function=f><parameter=a>1</parameter></function></tool_call>"),
      call(0, "f", R"({"a": 1})"));
}

TEST(ReplyParser, AClosingTagMayBeMissing) {
  const std::string_view call_text = kWeatherXml.substr(0, kWeatherXml.find("</tool_call>"));
  EXPECT_EQ(parse_reply(kXml, call_text), call(0, "weather", kWeatherArguments));
  EXPECT_EQ(parse_reply(kXml, call_text + "</tool"), call(0, "weather", kWeatherArguments));
  EXPECT_EQ(parse_reply(kXml, call_text + kWeatherXml),
            call(0, "weather", kWeatherArguments) + call(1, "weather", kWeatherArguments));
  EXPECT_EQ(parse_reply(kXml, call_text + "Well"),
            call(0, "weather", kWeatherArguments) + content("\nWell"));
  EXPECT_EQ(parse_reply(kJson, kWeatherJson.substr(0, kWeatherJson.rfind('}') + 1)),
            call(0, "weather", kWeatherArguments));
}

TEST(ReplyParser, XmlWithoutParameters) {
  EXPECT_EQ(parse_reply(kXml, "<tool_call>\n<function=now>\n</function>\n</tool_call>"),
            call(0, "now", "{}"));
}

TEST(ReplyParser, XmlParametersByTheSchema) {
  const auto arguments = [](std::string_view key, std::string_view value) {
    const std::string text = "<tool_call>\n<function=weather>\n<parameter=" + key + ">\n" + value +
                             "\n</parameter>\n</function>\n</tool_call>";
    const Events events = parse_reply(kXml, text);
    EXPECT_EQ(events, parse_reply(xml_streamed(), text));
    EXPECT_EQ(events.size(), 3u);
    return events.size() == 3 ? events[1].text : "";
  };
  EXPECT_EQ(arguments("city", "12"), R"({"city": "12"})");
  EXPECT_EQ(arguments("city", ""), R"({"city": ""})");
  EXPECT_EQ(arguments("city", "\n two \n lines\n"), R"({"city": "\n two \n lines\n"})");
  EXPECT_EQ(arguments("city", "a\"b\\c\t\x01\r\n\xC3\xA9\xF0\x9F\x98\x80"),
            "{\"city\": \"a\\\"b\\\\c\\t\\u0001\\r\\n\xC3\xA9\xF0\x9F\x98\x80\"}");
  EXPECT_EQ(arguments("days", " 12 "), R"({"days": 12})");
  EXPECT_EQ(arguments("days", "twelve"), R"({"days": "twelve"})");
  EXPECT_EQ(arguments("days", "123456789012345678901234567890"),
            R"({"days": 123456789012345678901234567890})");
  EXPECT_EQ(arguments("exact", "True"), R"({"exact": true})");
  EXPECT_EQ(arguments("near", "[\"x\",\n \"</p\"]"), "{\"near\": [\"x\",\n \"</p\"]}");
  EXPECT_EQ(arguments("other", "1"), R"({"other": 1})");
  EXPECT_EQ(arguments("other", "\"1\""), R"({"other": "\"1\""})");
  EXPECT_EQ(arguments("other", "word"), R"({"other": "word"})");
  EXPECT_EQ(arguments("q\"k", "word"), R"({"q\"k": "word"})");
}

TEST(ReplyParser, TagsInsideXmlValues) {
  const auto city = [](std::string_view value) {
    const std::string text = "<tool_call>\n<function=weather>\n<parameter=city>\n" + value +
                             "\n</parameter>\n</function>\n</tool_call>";
    const Events events = parse_reply(kXml, text);
    EXPECT_EQ(events, parse_reply(xml_streamed(), text));
    const auto arguments = Schema::parse(events.at(1).text);
    return arguments.at("city").get<std::string>();
  };
  for (const std::string_view value :
       {"</parameter>", "a</parameter>b", "</parameter>\n", "\n</parameter>\n</parameter>", "<",
        "</", "\n<\n", "</parameter>\n<parameter", "</parameter></para", "</function>",
        "</tool_call>\n<tool_call>", "</parameter", "<parameter=x>\n1", "\n\n</parameter>\n\n </p",
        "</parameter><<parameter=x>"})
    EXPECT_EQ(city(value), value);
  EXPECT_EQ(city("</parameter>" + std::string(65, ' ') + "<parameter=x>1"),
            "</parameter>" + std::string(65, ' ') + "<parameter=x>1");
}

TEST(ReplyParser, JsonArgumentsStayAsWritten) {
  const auto arguments = [](std::string_view json) {
    const Events events = parse_reply(kJson, "<tool_call>" + json + "</tool_call>");
    return events.size() == 3 ? events[1].text : "no call";
  };
  EXPECT_EQ(arguments(R"({"name":"f","arguments":{"b":1.0,"a":1e2}})"), R"({"b":1.0,"a":1e2})");
  EXPECT_EQ(arguments(R"({ "arguments" : { "x" : [ "}" , {} ] } , "id" : 1 , "name" : "f" })"),
            R"({ "x" : [ "}" , {} ] })");
  EXPECT_EQ(arguments(R"({"name":"f","arguments":{"x":"</tool_call>\"\\"}})"),
            R"({"x":"</tool_call>\"\\"})");
  EXPECT_EQ(arguments(R"({"name":"f","\u0061rguments":{"x":12345678901234567890123}})"),
            R"({"x":12345678901234567890123})");
  EXPECT_EQ(arguments(R"({"name":"f"})"), "{}");
  EXPECT_EQ(arguments(R"({"name":"f","arguments":null})"), "{}");
  EXPECT_EQ(arguments(R"({"name":"f","arguments":"{\"x\": 1}"})"), R"({"x": 1})");
}

TEST(ReplyParser, NemotronV2Lists) {
  EXPECT_EQ(parse_reply(kNemotronV2,
                        "So: \n<TOOLCALL>[{\"name\": \"a\", \"arguments\": {\"k\": [1]}}, "
                        "{\"name\": \"b\", \"arguments\": {}}]</TOOLCALL>\n"),
            Events{content("So:")} + call(0, "a", R"({"k": [1]})") + call(1, "b", "{}"));
  EXPECT_EQ(
      parse_reply(
          kNemotronV2,
          R"(<TOOLCALL> [ {"name":"a"} , {"name":"b"} ] </TOOLCALL><TOOLCALL>[{"name":"c"}]</TOOLCALL>)"),
      call(0, "a", "{}") + call(1, "b", "{}") + call(2, "c", "{}"));
}

TEST(ReplyParser, MalformedCallsAreContent) {
  for (const std::string_view body :
       {"", "\n", "text", "<", "<function", "<function=>\n</function>",
        "<function=a\nb></function>", "<function=a<b></function>", "<function=f", "<function=f>\n",
        "<function=f>text</function>", "<function=f>\n<parameter=>1</parameter></function>",
        "<function=f>\n<parameter=a>1", "<function=f>\n<parameter=a\n>1</parameter></function>",
        "<function=f>\n<parameter=a>\n1\n</parameter>\n",
        "<function=f><parameter=a>1</parameter><parameter=a>1</parameter></function>",
        "<function=f><parameter=a>1</parameter>x</function>", "{\"name\": \"f\"}"}) {
    expect_only_content(kXml, "So \n<tool_call>" + body);
    expect_only_content(kXml, "So \n<tool_call>" + body + "</tool_call>\n");
  }
  expect_only_content(kXml, "<tool_call><function=" +
                                std::string(XmlCall::kMostNameBytes + 1, 'f') + "></function>");
  for (const std::string_view body : {"",
                                      "text",
                                      "[]",
                                      "{",
                                      "{}",
                                      R"({"name": 1})",
                                      R"({"name": ""})",
                                      R"({"arguments": {}})",
                                      R"({"name": "f", "arguments": [1]})",
                                      R"({"name": "f", "arguments": "x"})",
                                      R"({"name": "f", "arguments": 1})",
                                      R"({"name": "f", "name": "g"})",
                                      R"({"name": "f",})",
                                      R"({'name': 'f'})",
                                      R"({"name": "f)",
                                      R"({"name": "f", "arguments": {"x": NaN}})",
                                      R"({"name": "f", "arguments": {"x": "\ud800"}})",
                                      R"({"name": "f" "arguments": {}})",
                                      R"({"name": "f"])",
                                      "{\"name\": \"f\n\"}",
                                      "{\"name\": \"f\"",
                                      "1"}) {
    expect_only_content(kJson, "So \n<tool_call>" + body);
    expect_only_content(kJson, "So \n<tool_call>" + body + "</tool_call>\n");
  }
  for (const std::string_view body :
       {"[]", "{\"name\": \"f\"}", "[{\"name\": \"f\"}, 1]", "[1, {\"name\": \"f\"}]",
        "[{\"name\": \"f\"}", "[[{\"name\": \"f\"}]]"})
    expect_only_content(kNemotronV2, "So \n<TOOLCALL>" + body + "</TOOLCALL>\n");
}

TEST(ReplyParser, ACallMayFollowABrokenOne) {
  EXPECT_EQ(parse_reply(kXml, "<tool_call>\n" + kWeatherXml),
            Events{content("<tool_call>\n")} + call(0, "weather", kWeatherArguments));
  EXPECT_EQ(parse_reply(kXml, "<tool_call><function=a" + kWeatherXml),
            Events{content("<tool_call><function=a")} + call(0, "weather", kWeatherArguments));
  EXPECT_EQ(parse_reply(kJson, "<tool_call>{" + kWeatherJson),
            Events{content("<tool_call>{")} + call(0, "weather", kWeatherArguments));
  EXPECT_EQ(
      parse_reply(kJson, "<tool_call>nonsense</tool_call>\n" + kWeatherJson),
      Events{content("<tool_call>nonsense</tool_call>")} + call(0, "weather", kWeatherArguments));
}

TEST(ReplyParser, UnknownToolsAreCalls) {
  EXPECT_EQ(parse_reply(kXml,
                        "<tool_call>\n<function=no such>\n<parameter=x "
                        "y>\nz\n</parameter>\n</function>\n</tool_call>"),
            call(0, "no such", R"({"x y": "z"})"));
}

TEST(ReplyParser, StreamedArguments) {
  ReplyParser parser(xml_streamed());
  using Kind = ReplyEvent::Kind;
  EXPECT_EQ(parser.push("<tool_call>\n<function=weather"), Events{});
  EXPECT_EQ(parser.push(">"),
            (Events{{Kind::kCallBegin, "weather", 0}, {Kind::kCallArguments, "{", 0}}));
  EXPECT_EQ(parser.push("\n<parameter=city>"), (Events{{Kind::kCallArguments, "\"city\": \"", 0}}));
  EXPECT_EQ(parser.push("\nNew\n"), (Events{{Kind::kCallArguments, "New", 0}}));
  EXPECT_EQ(parser.push("York\n</parameter>\n"), (Events{{Kind::kCallArguments, "\\nYork", 0}}));
  EXPECT_EQ(parser.push("<parameter=days>\n12\n</parameter>"),
            (Events{{Kind::kCallArguments, "\"", 0}}));
  EXPECT_EQ(parser.push("</function>"),
            (Events{{Kind::kCallArguments, ", \"days\": 12}", 0}, {Kind::kCallEnd, "", 0}}));
  EXPECT_EQ(parser.push("\n</tool_call>"), Events{});
  EXPECT_EQ(parser.finish(), Events{});
}

TEST(ReplyParser, AStreamedCallThatBreaksHasNoEnd) {
  using Kind = ReplyEvent::Kind;
  const std::string begin = "a\n<tool_call>\n<function=weather>\n<parameter=city>\nPar";
  const Events given = {content("a"),
                        {Kind::kCallBegin, "weather", 0},
                        {Kind::kCallArguments, "{\"city\": \"Par", 0}};
  EXPECT_EQ(parse_reply(xml_streamed(), begin), given);
  EXPECT_EQ(parse_reply(xml_streamed(), begin + "\n</para"), given + content("\n</para"));
  const Events closed = {content("a"),
                         {Kind::kCallBegin, "weather", 0},
                         {Kind::kCallArguments, "{\"city\": \"Par\"", 0}};
  EXPECT_EQ(parse_reply(xml_streamed(), begin + "</parameter><parameter=days>1"),
            closed + content("<parameter=days>1"));
  EXPECT_EQ(parse_reply(xml_streamed(), begin + "</parameter><parameter=city>1 " + kWeatherXml),
            closed + content("<parameter=city>1") + call(1, "weather", kWeatherArguments));
}

TEST(ReplyParser, Limits) {
  std::string many;
  Events expected;
  for (int i = 0; i < ReplyParser::kMostCalls; ++i) {
    many += "<tool_call><function=f></function></tool_call>";
    expected = expected + call(i, "f", "{}");
  }
  const std::string_view one_more = " <tool_call><function=f></function></tool_call>";
  EXPECT_EQ(parse_reply(kXml, many + one_more), expected + content(one_more));

  const std::string long_value(ReplyParser::kMostCallBytes, 'x');
  expect_only_content(kXml, "<tool_call><function=weather><parameter=city>" + long_value +
                                "</parameter></function>");
  expect_only_content(
      kJson, "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": \"" + long_value + "\"}}");
  EXPECT_EQ(parse_reply(kXml, "<tool_call><function=f><parameter=a>" + long_value.substr(100) +
                                  "</parameter></function>")
                .size(),
            3u);

  const std::string deep = std::string(100, '[') + std::string(100, ']');
  expect_only_content(kJson, "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": " + deep + "}}");
  EXPECT_EQ(
      parse_reply(kXml, "<tool_call><function=f><parameter=a>" + deep + "</parameter></function>"),
      call(0, "f", "{\"a\": \"" + deep + "\"}"));
}

// One list beyond the limit is content as a whole.
TEST(ReplyParser, ListsBeyondTheLimit) {
  std::string list = "<TOOLCALL>[{\"name\": \"f\"}";
  for (int i = 0; i < ReplyParser::kMostCalls; ++i) list += ", {\"name\": \"f\"}";
  expect_only_content(kNemotronV2, list + "]</TOOLCALL>");
}

// Arguments that the project's own JSON reader takes back, whatever the text was.
TEST(ReplyParser, InvalidTextDoesNotThrow) {
  for (const ReplyOptions& options : {kOpen, kXml, kJson, kNemotronV2, xml_streamed()}) {
    for (const std::string_view bytes : {"\xFF", "\xC3", "\xED\xA0\x80", "\xF0\x9F"}) {
      parse_reply(options, bytes);
      parse_reply(options, "<tool_call><function=" + bytes + "><parameter=" + bytes + ">" + bytes +
                               "</parameter></function>");
      parse_reply(options, "<tool_call>{\"name\": \"" + bytes + "\", \"arguments\": \"" + bytes +
                               "\"}</tool_call>");
    }
  }
}

// Random pieces of what matters, in any order.
TEST(ReplyParser, CutsNeverMatter) {
  const unsigned seed = 7;
  std::mt19937 random(seed);
  const std::vector<std::string_view> parts = {"<think>",
                                               "</think>",
                                               "<tool_call>",
                                               "</tool_call>",
                                               "<TOOLCALL>",
                                               "</TOOLCALL>",
                                               "<function=weather>",
                                               "<function=",
                                               "</function>",
                                               "<parameter=city>",
                                               "<parameter=days>",
                                               "<parameter=",
                                               "</parameter>",
                                               "\n",
                                               " ",
                                               "<",
                                               ">",
                                               "x",
                                               "12",
                                               "{\"name\":\"f\"",
                                               ",\"arguments\":{}",
                                               "}",
                                               "[",
                                               "]",
                                               "\"",
                                               "\\",
                                               "\xC3\xA9",
                                               kWeatherXml,
                                               kWeatherJson};
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (unsigned n = random() % 14; n > 0; --n) text += parts[random() % parts.size()];
    ReplyOptions options =
        with_tools(static_cast<ToolFormat>(random() % 3), static_cast<Thinking>(random() % 3));
    options.parse_reasoning = random() % 4 != 0;
    options.stream_arguments = random() % 2 == 0;
    int open_calls = 0;
    for (const ReplyEvent& event : parse_reply(options, text)) {
      ASSERT_TRUE(event.kind == ReplyEvent::Kind::kCallEnd || !event.text.empty()) << text;
      if (event.kind == ReplyEvent::Kind::kCallBegin) ++open_calls;
      if (event.kind == ReplyEvent::Kind::kCallEnd) --open_calls;
    }
    if (!options.stream_arguments) {
      ASSERT_EQ(open_calls, 0) << text;
    }
    if (HasFailure()) FAIL() << "seed " << seed << " round " << round;
  }
}

// Texts made to be looked at again and again, byte by byte: a quadratic parser takes many minutes.
TEST(ReplyParser, TimeIsLinear) {
  const auto repeated = [](std::string_view part) {
    std::string text;
    while (text.size() < 1u << 20) text += part;
    return text;
  };
  for (const std::string_view prefix :
       {"", "<think>", "<tool_call>", "<tool_call><function=weather><parameter=city>",
        "<tool_call><function=f><parameter=x>",
        "<tool_call>{\"name\":\"f\",\"arguments\":{\"x\":\""}) {
    for (const std::string_view part :
         {"<", "</", "\n", " ", "<tool_call>", "</parameter>\n", "</parameter> <parameter",
          "</think", "<tool_call>{\"name\":", "\\\"", "<tool_call><function=f>"}) {
      const std::string text = prefix + repeated(part);
      for (const ReplyOptions& options : {kClosed, xml_streamed(), kJson}) {
        const auto start = std::chrono::steady_clock::now();
        ReplyParser parser(options);
        for (const char c : text) (void)parser.push({&c, 1});
        (void)parser.finish();
        const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
        EXPECT_LT(taken.count(), 5.0) << prefix << " and then " << part;
      }
    }
  }
}

}  // namespace
}  // namespace hlwq
