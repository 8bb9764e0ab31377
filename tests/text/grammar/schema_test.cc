#include "text/grammar/schema.h"

#include <gtest/gtest.h>

#include <chrono>
#include <regex>

#include "base/utf8.h"
#include "io/json.h"
#include "tests/text/grammar/grammar_test_support.h"

namespace hlwq {
namespace {

constexpr const char* kSchemas[] = {
    R"({})",
    R"({"type":"object"})",
    R"({"type":"string"})",
    R"({"type":["string","null","boolean"]})",
    R"({"type":"string","minLength":2,"maxLength":5})",
    R"({"type":"string","nullable":true})",
    R"({"type":"integer"})",
    R"({"type":"number"})",
    R"({"type":"integer","minimum":-17,"maximum":1234})",
    R"({"type":"integer","exclusiveMinimum":9.5,"exclusiveMaximum":12})",
    R"({"type":"integer","minimum":0})",
    R"({"type":"integer","maximum":-5})",
    R"({"type":"number","minimum":0})",
    R"({"type":"number","minimum":0,"maximum":1})",
    R"({"type":"number","exclusiveMinimum":-1.25,"maximum":0.0375})",
    R"({"type":"number","exclusiveMinimum":0,"exclusiveMaximum":0.5})",
    R"({"type":"number","minimum":2.25,"maximum":2.5})",
    R"({"type":"number","maximum":-3.5})",
    R"({"type":"number","minimum":-90,"maximum":90})",
    R"({"type":"number","minimum":0.25,"maximum":0.25})",
    R"({"type":"array","items":{"type":"integer"},"maxItems":4})",
    R"({"type":"array","items":{"type":"boolean"},"minItems":2,"maxItems":3})",
    R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":false})",
    R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"null"}],"minItems":1,
        "items":{"type":"boolean"},"maxItems":4})",
    R"({"type":"array","items":[{"type":"integer"}],"additionalItems":{"type":"null"}})",
    R"({"type":"array","maxItems":0})",
    R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},
        "required":["a"],"additionalProperties":false})",
    R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"null"},"c":{"type":"null"}},
        "additionalProperties":false})",
    R"({"type":"object","properties":{"ab":{"type":"integer"},"a":{"type":"null"}},
        "additionalProperties":{"type":"boolean"}})",
    R"({"type":"object","properties":{"é":{"type":"integer"},"\n\"":{"type":"null"}},
        "required":["z"],"additionalProperties":{"type":"boolean"}})",
    R"({"type":"object","additionalProperties":{"type":"integer"},"minProperties":1,
        "maxProperties":3})",
    R"({"type":"object","properties":{"x":{"type":"integer"},"no":false},"required":["x"]})",
    R"({"enum":["red","green","re",1,-2.5,null,true,{"a":[1,"x"]},"é\n"]})",
    R"({"const":{"k":[1,2,{"z":null}]}})",
    R"({"type":"string","enum":["a","b",3]})",
    R"({"type":"integer","enum":[1,5,9],"minimum":4})",
    R"({"anyOf":[{"type":"integer"},{"type":"object","properties":{"t":{"const":"x"}},
        "required":["t"],"additionalProperties":false}]})",
    R"({"oneOf":[{"type":"boolean"},{"type":"null"}]})",
    R"({"type":"object","properties":{"k":{"type":"string","maxLength":3}},"required":["k"],
        "anyOf":[{"properties":{"n":{"type":"integer"}},"required":["n"]},
                 {"properties":{"m":{"type":"null"}},"required":["m"]}]})",
    R"({"allOf":[{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]},
                 {"properties":{"a":{"minimum":5},"b":{"type":"null"}},"required":["b"]}]})",
    R"({"type":["integer","string"],"anyOf":[{"type":"string","maxLength":2},{"type":"boolean"},
        {"type":"integer","minimum":3,"maximum":4}]})",
    R"({"$defs":{"node":{"type":"object","properties":{"v":{"type":"integer"},
        "next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["v","next"],
        "additionalProperties":false}},"$ref":"#/$defs/node"})",
    R"({"type":"object","properties":{"children":{"type":"array","items":{"$ref":"#"},"maxItems":2}},
        "additionalProperties":false})",
    R"({"definitions":{"a/b~c":{"type":"null"}},"properties":{"p":{"$ref":"#/definitions/a~1b~0c"}},
        "required":["p"],"type":"object","additionalProperties":false})",
    R"({"type":"string","pattern":"^[a-c]{2,4}(x|yy)?\\d+$"})",
    R"({"type":"string","pattern":"b+"})",
    R"({"type":"string","pattern":"^(?:foo|ba[rz])-"})",
    R"({"type":"string","pattern":"^[^a-y\"\\\\]*$","maxLength":4})",
    R"({"type":"string","pattern":"^(a*|b?){3}(c{0,2}){5}$"})",
    R"({"type":"object","properties":{"a":{"type":"object","properties":{"b":{"type":"array",
        "items":{"type":"object","properties":{"c":{"type":"integer"}},"required":["c"],
        "additionalProperties":false},"maxItems":2}},"required":["b"],"additionalProperties":false}},
        "required":["a"],"additionalProperties":false,"title":"t","description":"d"})",
};

class Schemas : public testing::TestWithParam<const char*> {};

TEST_P(Schemas, RandomTextsAreValid) {
  const OrderedJson schema = OrderedJson::parse(GetParam());
  const Grammar grammar = grammar_of(GetParam());
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const std::string text = random_text(grammar, seed);
    ASSERT_TRUE(is_utf8(text)) << text;
    const OrderedJson value = OrderedJson::parse(text, nullptr, false);
    ASSERT_FALSE(value.is_discarded()) << text;
    ASSERT_EQ(violation(schema, value), "") << text << " seed " << seed;
    ASSERT_TRUE(accepts(grammar, text)) << text;
    // And back: the same value as other programs write it.
    if (text.find("e") != std::string::npos || text.find('.') != std::string::npos) continue;
    ASSERT_TRUE(accepts(grammar, value.dump())) << text << " seed " << seed;
    ASSERT_TRUE(accepts(grammar, value.dump(1))) << text << " seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Schemas, testing::ValuesIn(kSchemas));

struct Case {
  const char* schema;
  std::vector<std::string> valid;
  std::vector<std::string> invalid;
};

TEST(Schema, AcceptsAndRefuses) {
  const Case cases[] = {
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},
           "required":["a"],"additionalProperties":false})",
       {R"({"a":1})", R"({"a":1,"b":"x"})", R"({"a": 1, "b": "x"})",
        "{\n  \"a\": 1,\n  \"b\": \"x\"\n}", R"({ "a": 1 })"},
       {R"({})", R"({"b":"x"})", R"({"a":1,"c":2})", R"({"a":1,"a":1})", R"({"a":1,})",
        R"({"a":  1})", R"({"a" :1})", R"({"a":1} )", R"( {"a":1})", R"({"a":"1"})",
        R"({"a":01})"}},
      {R"({"type":"object","properties":{"ab":{"type":"integer"}}})",
       {R"({})", R"({"ab":1,"a":"x"})", R"({"abc":[]})", R"({"":0})",
        R"({"x":{},"y":[1,{"z":null}]})"},
       {R"({"ab":"x"})", R"({"a":1,"ab":2})", "{\"\\u0061b\":\"x\"}", R"({"a\u0062":"x"})"}},
      {R"({"type":"object","properties":{"é":{"type":"integer"}},"required":["é"]})",
       {R"({"é":1})", R"({"\u00e9":1})", R"({"é":1,"è":2})"},
       {R"({"é":1,"\u00e9":2})", R"({"é":1,"\u00E9":2})", R"({"è":1})"}},
      {R"({"type":"string"})",
       {R"("")", R"("a\"\\\/\b\f\n\r\tA\u00e9")", R"("é€😀")", R"("\ud83d\ude00")", "\"\x7f\""},
       {"\"a\nb\"", R"("\ud83d")", R"("\ude00")", R"("\ud83dx")", R"("\x")", "\"\xC3\"",
        "\"\xED\xA0\x80\"", "\"\xF5\x80\x80\x80\"", "\"\xC0\xAF\"", R"("a)"}},
      {R"({"type":"string","minLength":2,"maxLength":3})",
       {R"("ab")", R"("é€😀")", R"("\ud83d\ude00\n")"},
       {R"("a")", R"("abcd")", R"("\ud83d\ude00")"}},
      {R"({"type":"integer","minimum":-17,"maximum":1234})",
       {"0", "-17", "-1", "999", "1000", "1234"},
       {"-18", "1235", "-0", "00", "1.0", "12345", "1e2", "-"}},
      {R"({"type":"integer"})",
       {"0", "-1", "999999999999999999"},
       {"-0", "01", "9999999999999999999", "1.5"}},
      {R"({"type":"number"})",
       {"0", "-0.5", "1e5", "1.5E-300", "1e+22", "1e289", "1e190", "123456789.25"},
       {"1e290", "1e999", ".5", "5.", "1e", "+1", "0x1", "NaN"}},
      {R"({"type":"number","minimum":0.25,"exclusiveMaximum":10})",
       {"0.25", "0.250", "0.3", "1", "9.99", "0.2500001", "9.0", "5.5"},
       {"0.2", "0.24999", "0", "10", "10.0", "-1", "0.", "1e0"}},
      {R"({"type":"number","exclusiveMinimum":-2.5,"maximum":0.5})",
       {"-2.4", "-2.4999", "-1", "0", "0.5", "0.50", "0.05", "-0.1"},
       {"-2.5", "-2.50", "-2.51", "-3", "0.51", "1", "0.500001"}},
      {R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"minItems":1})",
       {"[1]", R"([1,"a"])", R"([1, "a", null, {}])"},
       {"[]", R"(["a"])", "[1,1]"}},
      {R"({"type":"string","pattern":"^[A-Z]{2}\\d{3}$"})",
       {R"("AB123")"},
       {R"("AB12")", R"("ab123")", R"("AB1234")", R"("xAB123")"}},
      {R"({"type":"string","pattern":"\\.txt$"})",
       {R"("a.txt")", R"(".txt")", R"(".txt.txt")", R"("a\n.txt")"},
       {R"("atxt")", R"("a.txt ")"}},
      {R"({"type":"string","pattern":"^\\s\\S\\W\\D.[^x][\\d-]\\u0041\\x42\\u{43}\\/$"})",
       {R"("\ta-bcy-ABC/")", "\"\xC2\xA0\xC3\xA9-bcy7ABC/\""},
       {R"("aa-bcy-ABC/")", R"("\ta-bcx-ABC/")", R"("\ta-b\ny-ABC/")"}},
      {R"({"type":"string","pattern":"^a|b$"})",
       {R"("a")", R"("axy")", R"("xyb")", R"("b")"},
       {R"("xy")", R"("ba")", R"("")"}},
      {R"({"type":"string","format":"date"})",
       {R"("2024-02-29")", R"("1999-12-31")"},
       {R"("2024-02-30")", R"("2024-13-01")", R"("2024-04-31")", R"("2024-1-01")"}},
      {R"({"type":"string","format":"date-time"})",
       {R"("2024-02-29T23:59:59Z")", R"("2024-02-29T00:00:00.123+01:00")"},
       {R"("2024-02-29")", R"("2024-02-29T24:00:00Z")", R"("2024-02-29T23:59:59")"}},
      {R"({"type":"string","format":"time"})", {R"("10:20:30Z")"}, {R"("25:00:00Z")"}},
      {R"({"type":"string","format":"uuid"})",
       {R"("123e4567-e89b-12d3-a456-426614174000")"},
       {R"("123e4567-e89b-12d3-a456-42661417400")", R"("g23e4567-e89b-12d3-a456-426614174000")"}},
      {R"({"type":"string","format":"email"})",
       {R"("a.b+c@example.co.uk")"},
       {R"("a@b")", R"("@b.c")", R"("a b@c.de")", R"("a@-b.c")"}},
      {R"({"type":"string","format":"ipv4"})",
       {R"("0.0.0.0")", R"("255.199.20.1")"},
       {R"("256.0.0.0")", R"("1.2.3")", R"("01.2.3.4")"}},
      {R"({"type":"string","format":"unheard-of"})", {R"("x")"}, {"1"}},
      {R"({"properties":{"a":{"type":"null"}}})", {R"({"a":null})"}, {"1", R"({"a":1})"}},
      {R"({"$ref":"#/$defs/a%20b","$defs":{"a b":{"const":1}}})", {"1"}, {"2"}},
      {R"({"$ref":"#/anyOf/1","anyOf":[{"const":1},{"const":2}]})", {"2"}, {"1", "3"}},
      {R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})", {"null"}, {"1", "[]"}},
      {R"(true)", {"1", "[]", "{}", "null"}, {"", "nul"}},
  };
  for (const Case& c : cases) {
    const Grammar grammar = grammar_of(c.schema);
    for (const std::string& text : c.valid) EXPECT_TRUE(accepts(grammar, text)) << c.schema << text;
    for (const std::string& text : c.invalid) {
      EXPECT_FALSE(accepts(grammar, text)) << c.schema << text;
    }
  }
}

TEST(Schema, NumbersOfARangeAreExactlyThose) {
  const Grammar grammar =
      grammar_of(R"({"type":"number","minimum":-1.25,"exclusiveMaximum":10.5})");
  for (int thousandths = -2000; thousandths <= 11000; ++thousandths) {
    const double value = thousandths / 1000.0;
    const std::string text = OrderedJson(value).dump();
    if (text == "-0.0") continue;
    EXPECT_EQ(accepts(grammar, text), value >= -1.25 && value < 10.5) << text;
  }
  const Grammar whole = grammar_of(R"({"type":"integer","minimum":-1099,"maximum":20110})");
  for (int value = -12000; value < 30000; ++value) {
    ASSERT_EQ(accepts(whole, std::to_string(value)), value >= -1099 && value <= 20110) << value;
  }
}

TEST(Schema, ObjectGrammarTakesAnyObject) {
  const Grammar grammar = *json_object_grammar();
  EXPECT_TRUE(accepts(grammar, R"({"a": [1, 2.5e3, {"b": null}], "c": "x"})"));
  EXPECT_FALSE(accepts(grammar, R"([1])"));
  EXPECT_FALSE(accepts(grammar, R"("x")"));
  std::string deep = R"({"a":)";
  for (int i = 0; i < 63; ++i) deep += '[';
  for (int i = 0; i < 63; ++i) deep += ']';
  deep += '}';
  EXPECT_TRUE(accepts(grammar, deep));
  EXPECT_TRUE(parse_json(deep, "deep"));
  EXPECT_FALSE(accepts(grammar, R"({"b":)" + deep + "}"));
}

TEST(Schema, RefusesKeywordsThatItDoesNotKnow) {
  for (const char* keyword :
       {"not", "if", "then", "else", "patternProperties", "propertyNames", "dependentRequired",
        "dependentSchemas", "dependencies", "contains", "multipleOf", "unevaluatedProperties",
        "unevaluatedItems", "minContains", "maxContains", "$dynamicRef"}) {
    const OrderedJson schema = {{"properties", {{"a/b", {{keyword, OrderedJson::object()}}}}}};
    const std::string message = refusal_of(schema.dump(), ErrorCode::kUnsupported);
    EXPECT_NE(message.find(std::string("#/properties/a~1b/") + keyword), std::string::npos)
        << message;
  }
  refusal_of(R"({"type":"array","uniqueItems":true})", ErrorCode::kUnsupported);
  refusal_of(R"({"$ref":"other.json"})", ErrorCode::kUnsupported);
  refusal_of(R"({"$ref":"#name"})", ErrorCode::kUnsupported);
  refusal_of(R"({"type":"object","minProperties":2})", ErrorCode::kUnsupported);
  refusal_of(R"({"type":"object","properties":{"a":{}},"maxProperties":3})",
             ErrorCode::kUnsupported);
  refusal_of(R"({"allOf":[{"pattern":"a"},{"pattern":"b"}]})", ErrorCode::kUnsupported);
  refusal_of(R"({"type":"string","pattern":"^ab*$","maxLength":4})", ErrorCode::kUnsupported);
  refusal_of(R"({"enum":["a"],"pattern":"a"})", ErrorCode::kUnsupported);
  grammar_of(R"({"type":"array","uniqueItems":false,"x-vendor":{"not":1},"default":[]})");
}

TEST(Schema, RefusesContradictionsNamingThePlace) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"type":"string","minLength":3,"maxLength":2})", "#/minLength"},
      {R"({"properties":{"a":{"type":"integer","minimum":3,"maximum":2}}})", "#/properties/a/"},
      {R"({"type":"integer","minimum":1.2,"maximum":1.8})", "#:"},
      {R"({"type":"number","minimum":1,"exclusiveMaximum":1})", "#/exclusiveMaximum"},
      {R"({"type":"array","minItems":3,"maxItems":2})", "#/minItems"},
      {R"({"type":"array","minItems":3,"prefixItems":[{}],"items":false})", "#/minItems"},
      {R"({"type":"object","required":["a"],"additionalProperties":false})", "#/required"},
      {R"({"type":"object","required":["a"],"properties":{"a":false}})", "#/required"},
      {R"({"enum":[]})", "#/enum"},
      {R"({"type":"integer","enum":["a"]})", "#/enum"},
      {R"({"type":"integer","const":1.5})", "#/const"},
      {R"({"allOf":[{"type":"string"},{"type":"integer"}]})", "#/type"},
      {R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", "#:"},
      {R"({"$ref":"#"})", "#:"},
      {R"({"$ref":"#","type":"string"})", "#:"},
      {R"({"items":{"$ref":"#/nowhere"}})", "#/items/$ref"},
      {R"(false)", "#:"},
      {R"({"type":"string","anyOf":[{"type":"null"},{"type":"integer"}]})", "#/type"},
      {R"({"type":"string","pattern":"^a{5}$","maxLength":4})", "#/pattern"},
      {R"(17)", "#:"},
      {R"({"type":"text"})", "#/type"},
      {R"({"type":[]})", "#/type"},
      {R"({"minLength":-1})", "#/minLength"},
      {R"({"minimum":"x"})", "#/minimum"},
      {R"({"properties":[]})", "#/properties"},
      {R"({"required":[1]})", "#/required"},
      {R"({"anyOf":[]})", "#/anyOf"},
      {R"({"pattern":"a("})", "#/pattern"},
  };
  for (const auto& [schema, place] : cases) {
    const std::string message = refusal_of(schema, ErrorCode::kInvalidArgument);
    EXPECT_NE(message.find(place), std::string::npos) << schema << ": " << message;
  }
}

TEST(Schema, RefusesPatterns) {
  for (const char* pattern : {"a(?=b)", "(?<!a)b", "(a)\\\\1", "\\\\bword", "\\\\p{L}", "(^a|b)c",
                              "a$b", "a(b$|c)", "a**", "a++"}) {
    refusal_of(std::string(R"({"type":"string","pattern":")") + pattern + "\"}",
               ErrorCode::kUnsupported);
  }
  for (const char* pattern :
       {"*a", "(a", "a)", "[a", "[b-a]", "a{3,2}", "\\\\", "\\\\u12", "\\\\ud800"}) {
    refusal_of(std::string(R"({"type":"string","pattern":")") + pattern + "\"}",
               ErrorCode::kInvalidArgument);
  }
}

TEST(Schema, HostileSchemasEndQuickly) {
  std::vector<std::string> schemas;
  OrderedJson list;
  for (int i = 0; i < 20000; ++i) list.push_back("value " + std::to_string(i * 7919));
  schemas.push_back(OrderedJson{{"enum", list}}.dump());
  schemas.push_back(OrderedJson{{"allOf", {{{"enum", list}}, {{"enum", list}}}}}.dump());
  std::string deep = "{}";
  for (int i = 0; i < 3000; ++i) deep = R"({"items":)" + deep + "}";
  schemas.push_back(deep);
  OrderedJson choices = OrderedJson::array();
  for (int i = 0; i < 14; ++i) {
    choices.push_back({{"anyOf",
                        {{{"properties", {{"a" + std::to_string(i), {{"const", 1}}}}}},
                         {{"properties", {{"b" + std::to_string(i), {{"const", 2}}}}}}}}});
  }
  schemas.push_back(OrderedJson{{"type", "object"}, {"allOf", choices}}.dump());
  schemas.push_back(R"({"type":"string","pattern":"(a{1000}){1000}"})");
  schemas.push_back(R"({"type":"string","pattern":"^(((a{0,1000}){0,1000}){0,1000}){0,1000}$"})");
  schemas.push_back(R"({"type":"string","pattern":"^(((a?){9}){9}b?){9}$"})");
  schemas.push_back(R"({"type":"string","maxLength":1000000000})");
  schemas.push_back(R"({"type":"array","minItems":1000000000})");
  schemas.push_back(R"({"type":"array","items":{},"maxItems":1e300})");
  OrderedJson many = OrderedJson::object();
  for (int i = 0; i < 3000; ++i) many[std::to_string(i)] = OrderedJson::object();
  schemas.push_back(OrderedJson{{"properties", many}}.dump());
  std::string doubling = R"({"$defs":{"d0":{"type":"null"})";
  for (int i = 1; i < 60; ++i) {
    const std::string ref = R"({"$ref":"#/$defs/d)" + std::to_string(i - 1) + "\"}";
    doubling += ",\"d" + std::to_string(i) + R"(":{"type":"array","prefixItems":[)" + ref + "," +
                ref + "],\"minItems\":2}";
  }
  schemas.push_back(doubling + R"(},"$ref":"#/$defs/d59"})");
  std::string all = R"({"$defs":{"d0":{"type":"null"})";
  for (int i = 1; i < 60; ++i) {
    const std::string ref = R"({"$ref":"#/$defs/d)" + std::to_string(i - 1) + "\"}";
    all += ",\"d" + std::to_string(i) + R"(":{"allOf":[)" + ref + "," + ref + "]}";
  }
  schemas.push_back(all + R"(},"$ref":"#/$defs/d59"})");
  std::string optional = R"({"type":"object","additionalProperties":false,"properties":{)";
  for (int i = 0; i < 1000; ++i) {
    optional += (i == 0 ? "\"" : ",\"") + std::to_string(i) + R"(":{"type":"null"})";
  }
  schemas.push_back(optional + "}}");
  for (const std::string& schema : schemas) {
    const OrderedJson json = OrderedJson::parse(schema);
    const auto begin = std::chrono::steady_clock::now();
    const auto grammar = compile_json_schema(json);
    const auto compiled = std::chrono::steady_clock::now();
    if (grammar) {
      GrammarState state = GrammarState::start(*grammar);
      for (const char* text : {"\"", "aaaaaaaaaa", "[", "{", "\"1"}) state.advance(text);
    }
    const auto ran = std::chrono::steady_clock::now();
    const auto ms = [](auto duration) {
      return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
    };
    // Below 50 ms each on an idle core; tests run many at a time, and with sanitizers.
    EXPECT_LT(ms(compiled - begin), 5000) << schema.substr(0, 100);
    EXPECT_LT(ms(ran - compiled), 5000) << schema.substr(0, 100);
  }
}

TEST(Schema, TextThatIsNotUtf8IsRefused) {
  const OrderedJson schema = {{"enum", {std::string("\xFF")}}};
  EXPECT_EQ(compile_json_schema(schema).error().code, ErrorCode::kInvalidArgument);
  OrderedJson keys = OrderedJson::object();
  keys["\xC3"] = 1;
  EXPECT_EQ(compile_json_schema(keys).error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace hlwq
