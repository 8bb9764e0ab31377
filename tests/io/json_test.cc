#include "io/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "io/file.h"
#include "tests/io/temp_folder.h"

namespace hlwq {
namespace {

using testing_support::put;
using testing_support::TempFolder;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Json parsed(std::string_view text, const JsonLimits& limits = {}) {
  Result<Json> result = parse_json(text, "test.json", limits);
  EXPECT_TRUE(result.has_value()) << text << ": " << result.error().message;
  return result ? std::move(*result) : Json();
}

// The message of the refusal; empty, and a failure, when the text is taken.
std::string refusal(std::string_view text, const JsonLimits& limits = {}) {
  const Result<Json> result = parse_json(text, "dir/test.json", limits);
  if (result) {
    ADD_FAILURE() << "taken: " << text.substr(0, 80);
    return "";
  }
  EXPECT_EQ(result.error().code, ErrorCode::kBadHeader);
  EXPECT_TRUE(result.error().message.starts_with("dir/test.json: JSON ")) << result.error().message;
  return result.error().message;
}

TEST(Json, BuildsEveryKindOfValue) {
  const Json json = parsed(R"( {"n":null,"t":true,"f":false,"u":18446744073709551615,
      "i":-9223372036854775808,"d":1.5e3,"s":"a\u00e9\ud83d\ude00\n","a":[1,[],{"x":[{}]}],"":{}} )");
  EXPECT_TRUE(json.at("n").is_null());
  EXPECT_EQ(json.at("t"), true);
  EXPECT_EQ(json.at("f"), false);
  EXPECT_EQ(json.at("u").get<uint64_t>(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(json.at("i").get<int64_t>(), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(json.at("d").get<double>(), 1500.0);
  EXPECT_EQ(json.at("s").get<std::string>(), "a\u00e9\U0001F600\n");
  EXPECT_EQ(json.at("a").dump(), R"([1,[],{"x":[{}]}])");
  EXPECT_TRUE(json.at("").is_object());
  EXPECT_EQ(parsed("7"), 7);
  EXPECT_EQ(parsed(" [ ] ").size(), 0u);
}

TEST(Json, TakesPythonsNamesOfNumbers) {
  const Json json = parsed(
      R"({"a":[0, Infinity,-Infinity , NaN],"b":Infinity,"Infinity":"NaN \" Infinity","c":-3})");
  EXPECT_EQ(json.at("a")[0].get<int>(), 0);
  EXPECT_EQ(json.at("a")[1].get<double>(), kInfinity);
  EXPECT_EQ(json.at("a")[2].get<double>(), -kInfinity);
  EXPECT_TRUE(std::isnan(json.at("a")[3].get<double>()));
  EXPECT_EQ(json.at("b").get<double>(), kInfinity);
  EXPECT_EQ(json.at("Infinity").get<std::string>(), "NaN \" Infinity");
  EXPECT_EQ(json.at("c").get<int>(), -3);
  EXPECT_EQ(parsed("-Infinity").get<double>(), -kInfinity);
}

TEST(Json, NamedNumbersKeepTheirPlacesAmongOthers) {
  // Every way to write a number, and strings that look like some, around the named ones.
  const Json json = parsed(R"(["1 NaN \\",1,-2.5e-3,"\"",NaN,0,{"7":8},1E+2,-Infinity,9,true])");
  EXPECT_EQ(json[1].get<double>(), 1.0);
  EXPECT_EQ(json[2].get<double>(), -2.5e-3);
  EXPECT_TRUE(std::isnan(json[4].get<double>()));
  EXPECT_EQ(json[5].get<double>(), 0.0);
  EXPECT_EQ(json[6].at("7").get<int>(), 8);
  EXPECT_EQ(json[7].get<double>(), 100.0);
  EXPECT_EQ(json[8].get<double>(), -kInfinity);
  EXPECT_EQ(json[9].get<int>(), 9);
}

TEST(Json, TakesTheFloatObject) {
  const Json json = parsed(
      R"({"limit":[0.0,{"__float__":"Infinity"}],"a":{"__float__":"-Infinity"},
          "b":{"__float__":"NaN"},"c":{"__float__":"Infinity","x":1},"d":{"__float__":"1.5"}})");
  EXPECT_EQ(json.at("limit")[1].get<double>(), kInfinity);
  EXPECT_EQ(json.at("a").get<double>(), -kInfinity);
  EXPECT_TRUE(std::isnan(json.at("b").get<double>()));
  // Not that form: left as they are, for the reader of the field to refuse.
  EXPECT_TRUE(json.at("c").is_object());
  EXPECT_TRUE(json.at("d").is_object());
  EXPECT_EQ(parsed(R"({"__float__":"Infinity"})").get<double>(), kInfinity);
}

TEST(Json, RefusesMisplacedNamesOfNumbers) {
  for (const char* text :
       {"[1Infinity]",  "[1NaN]",       "[Infinity1]",  "[NaNNaN]",      "[1-Infinity]",
        "[--Infinity]", "[- Infinity]", "[+Infinity]",  "{Infinity:1}",  "{NaN:1}",
        "[trueNaN]",    "[NaN NaN]",    "[infinity]",   "[nan]",         "[Infinit]",
        "[-NaN]",       "[\"a\"NaN]",   "[1.Infinity]", "[1e-Infinity]", "NaN,",
        "[\"NaN]",      "[Infinitys]",  "[NaNe5]",      "[NaN.5]",       "[0xNaN]"})
    refusal(text);
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const char* text :
       {"",           "  ",      "{",         "[",    "{\"a\"}",   "{\"a\":}",  "[1,]",
        "{\"a\":1,}", "{'a':1}", "[01]",      "[1.]", "[.5]",      "[+1]",      "[1] x",
        "[1][2]",     "// c\n1", "/* c */ 1", "tru",  "[\"\\x\"]", "[\"\n\"]",  "[\"\x01\"]",
        "[\"abc",     "nul",     "]",         "[1}",  "{\"a\":1]", "\"\\u12\"", "-"})
    refusal(text);
}

TEST(Json, RefusesBadText) {
  EXPECT_NE(refusal("\xEF\xBB\xBF{}").find("byte order mark"), std::string::npos);
  refusal("\xFF\xFE{\0}\0");
  refusal("[\"\xFF\"]");
  refusal("[\"\xC0\x80\"]");
  refusal("[\"\xED\xA0\x80\"]");  // a surrogate in UTF-8
  refusal("[\xC3\xA9]");
  refusal(R"(["\ud800"])");
  refusal(R"(["\udc00"])");
  refusal(R"(["\ud800\u0041"])");
  refusal(R"(["\ud800x"])");
}

// nlohmann's own reader stops at a NUL and calls the rest absent.
TEST(Json, RefusesNulBytes) {
  using std::string_view_literals::operator""sv;
  EXPECT_NE(refusal("{}\0"sv).find("NUL byte"), std::string::npos);
  refusal("{}\0garbage"sv);
  refusal("[\"a\0b\"]"sv);
  EXPECT_EQ(parsed(R"(["a\u0000b"])")[0].get<std::string>(), "a\0b"sv);
}

TEST(Json, RefusesDuplicateKeysAtAnyDepth) {
  EXPECT_NE(refusal("{\"a\":1,\n\"b\":2,\n\"a\":3}").find("line 3, byte 18: key \"a\""),
            std::string::npos);
  refusal(R"({"x":[{"a":1,"\u0061":1}]})");
  refusal(R"({"":1,"":2})");
  EXPECT_EQ(parsed(R"({"a":{"a":{"a":1}},"b":{"a":1}})").size(), 2u);
}

TEST(Json, RefusesNumbersThatNoDoubleHolds) {
  EXPECT_NE(refusal("[1e400]").find("number overflow"), std::string::npos);
  const std::string many(5000, '9');
  EXPECT_LT(refusal(many).size(), 300u);
  // Beyond 64 bits an integer becomes a double, never a wrapped integer.
  EXPECT_TRUE(parsed("18446744073709551616").is_number_float());
  EXPECT_TRUE(parsed("-9223372036854775809").is_number_float());
}

TEST(Json, LimitsDepth) {
  const auto nested = [](int depth) {
    return std::string(static_cast<size_t>(depth), '[') +
           std::string(static_cast<size_t>(depth), ']');
  };
  EXPECT_TRUE(parsed(nested(64)).is_array());
  EXPECT_NE(refusal(nested(65)).find("byte 65: nested deeper than 64 levels"), std::string::npos);
  EXPECT_EQ(parsed("7", {.depth = 0}), 7);
  refusal("[]", {.depth = 0});
  // Far beyond any stack, closed and open, arrays and objects.
  refusal(nested(100'000));
  refusal(std::string(1'000'000, '['));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  refusal(objects);
  // A limit above the default holds too, and the document comes apart without recursion.
  EXPECT_TRUE(parse_json(nested(100'000), "test.json", {.depth = 100'000}).has_value());
}

TEST(Json, LimitsBytes) {
  EXPECT_EQ(parsed("[1,2]", {.bytes = 5}).size(), 2u);
  EXPECT_NE(refusal("[1,2]", {.bytes = 4}).find("5 bytes, more than the 4"), std::string::npos);
}

TEST(Json, MessagesAreOnePrintableLine) {
  const std::string message = refusal("[1,\n\n  \"\x1b[31m\xFF");
  EXPECT_NE(message.find("line 3"), std::string::npos) << message;
  for (const char c : message) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << message;
}

OrderedJson parsed_ordered(std::string_view text) {
  Result<OrderedJson> result = parse_ordered_json(text, "test.json");
  EXPECT_TRUE(result.has_value()) << text << ": " << result.error().message;
  return result ? std::move(*result) : OrderedJson();
}

TEST(OrderedJsonText, KeepsTheOrderOfKeys) {
  const std::string text =
      R"({"z":1,"a":{"y":[{"b":1,"a":2},-3,1.5],"x":"s"},"m":null,"b":true,"c":{},"d":[]})";
  EXPECT_EQ(parsed_ordered(text).dump(), text);
  // The same values as without order.
  EXPECT_EQ(Json::parse(parsed_ordered(text).dump()), parsed(text));
  EXPECT_EQ(parsed_ordered(R"([Infinity,{"__float__":"-Infinity"}])")[1].get<double>(), -kInfinity);
  std::string many = "{";
  for (int i = 200'000; i > 0; --i) many += "\"k" + std::to_string(i) + "\":0,";
  many.back() = '}';
  EXPECT_EQ(parsed_ordered(many).size(), 200'000u);
}

TEST(OrderedJsonText, IsAsStrict) {
  const auto refused = [](std::string_view text) {
    const Result<OrderedJson> result = parse_ordered_json(text, "dir/test.json");
    EXPECT_FALSE(result.has_value()) << text.substr(0, 80);
    return result ? "" : result.error().message;
  };
  EXPECT_NE(refused("{\"a\":1,\n\"b\":{\"a\":2},\n\"a\":3}").find("key \"a\" appears twice"),
            std::string::npos);
  EXPECT_TRUE(refused("{").starts_with("dir/test.json: JSON "));
  refused(std::string(1'000'000, '['));
  refused(R"({"x":[{"a":1,"\u0061":1}]})");
  refused("\xEF\xBB\xBF{}");
  refused("[1,]");
  EXPECT_FALSE(parse_ordered_json("[1,2]", "t", {.bytes = 4}));
  EXPECT_FALSE(parse_ordered_json("[[1]]", "t", {.depth = 1}));
}

TEST(JsonFile, ReadsAndNamesThePath) {
  const TempFolder folder;
  const std::string path = folder.file("config.json");
  put(path, R"({"time_step_limit": [0.0, Infinity]})");
  const Result<Json> read = read_json_file(path);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->at("time_step_limit")[1].get<double>(), kInfinity);

  put(path, "{\"a\":");
  const Result<Json> bad = read_json_file(path);
  ASSERT_FALSE(bad.has_value());
  EXPECT_EQ(bad.error().code, ErrorCode::kBadHeader);
  EXPECT_TRUE(bad.error().message.starts_with(path)) << bad.error().message;

  const Result<Json> large = read_json_file(path, {.bytes = 3});
  ASSERT_FALSE(large.has_value());
  EXPECT_EQ(large.error().code, ErrorCode::kBadHeader);

  const Result<Json> missing = read_json_file(folder.file("none.json"));
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, ErrorCode::kMissing);
}

}  // namespace
}  // namespace hlwq
