#include "text/reply/parameter_types.h"

#include <gtest/gtest.h>

#include <string>

namespace hlwq {
namespace {

using Schema = nlohmann::ordered_json;

// The bits for a property with this schema.
int types_of(std::string_view property) {
  const Schema parameters = {{"type", "object"},
                             {"properties", {{"key", Schema::parse(property)}}}};
  return parameter_types(parameters, "key").bits;
}

constexpr int kString = ParameterTypes::kString;
constexpr int kInteger = ParameterTypes::kInteger;
constexpr int kNull = ParameterTypes::kNull;
constexpr int kObject = ParameterTypes::kObject;

TEST(ParameterTypes, FromTheSchema) {
  EXPECT_EQ(types_of(R"({"type": "string"})"), kString);
  EXPECT_EQ(types_of(R"({"type": "number"})"), ParameterTypes::kNumber);
  EXPECT_EQ(types_of(R"({"type": "boolean"})"), ParameterTypes::kBoolean);
  EXPECT_EQ(types_of(R"({"type": "array"})"), ParameterTypes::kArray);
  EXPECT_EQ(types_of(R"({"type": ["string", "null"]})"), kString | kNull);
  EXPECT_EQ(types_of(R"({"enum": ["a", 1, {}]})"), kString | kInteger | kObject);
  EXPECT_EQ(types_of(R"({"const": "a"})"), kString);
  EXPECT_EQ(types_of(R"({"anyOf": [{"type": "string"}, {"type": "null"}]})"), kString | kNull);
  EXPECT_EQ(types_of(R"({"oneOf": [{"anyOf": [{"const": null}]}, {"type": "object"}]})"),
            kObject | kNull);
}

TEST(ParameterTypes, SchemasThatDoNotSay) {
  for (const char* property : {"{}", "true", "null", "[]", R"({"type": "text"})", R"({"type": 1})",
                               R"({"type": []})", R"({"type": ["string", "text"]})",
                               R"({"anyOf": [{"type": "string"}, {"$ref": "#/$defs/x"}]})",
                               R"({"anyOf": 1})", R"({"enum": "a"})", R"({"$ref": "#/$defs/x"})"})
    EXPECT_EQ(types_of(property), 0) << property;
  for (const char* parameters :
       {"null", "[]", "{}", R"({"properties": []})", R"({"properties": {"other": {}}})"})
    EXPECT_EQ(parameter_types(Schema::parse(parameters), "key").bits, 0) << parameters;
  Schema deep = {{"type", "string"}};
  for (int i = 0; i < 1000; ++i) deep = Schema{{"anyOf", Schema::array({deep})}};
  EXPECT_EQ(types_of(deep.dump()), 0);
}

std::string json(std::string_view text, int bits) {
  return parameter_json(text, {static_cast<uint8_t>(bits)});
}

TEST(ParameterJson, OnlyString) {
  EXPECT_EQ(json("1", kString), R"("1")");
  EXPECT_EQ(json(" null\n", kString), R"(" null\n")");
  EXPECT_EQ(json("\"a\"", kString), R"("\"a\"")");
}

TEST(ParameterJson, WithoutString) {
  EXPECT_EQ(json(" 1\n", kInteger), "1");
  EXPECT_EQ(json("1.5", kInteger), "1.5");
  EXPECT_EQ(json("{\"a\":\n[]}", kObject), "{\"a\":\n[]}");
  EXPECT_EQ(json("\"a\"", kInteger), R"("a")");
  EXPECT_EQ(json("one", kInteger), R"("one")");
  EXPECT_EQ(json("", kInteger), R"("")");
  EXPECT_EQ(json("True", ParameterTypes::kBoolean), "true");
  EXPECT_EQ(json("False", ParameterTypes::kBoolean), "false");
  EXPECT_EQ(json("None", kInteger), "null");
  EXPECT_EQ(json("True", kInteger), R"("True")");
}

TEST(ParameterJson, StringOrOther) {
  EXPECT_EQ(json("null", kString | kNull), "null");
  EXPECT_EQ(json("1", kString | kNull), R"("1")");
  EXPECT_EQ(json("1", kString | ParameterTypes::kNumber), "1");
  EXPECT_EQ(json("1.0", kString | kInteger), R"("1.0")");
  EXPECT_EQ(json("None", kString | kNull), R"("None")");
  EXPECT_EQ(json("\"a\"", kString | kNull), R"("\"a\"")");
}

TEST(ParameterJson, WithoutASchema) {
  EXPECT_EQ(json("1", 0), "1");
  EXPECT_EQ(json("[1, 2]", 0), "[1, 2]");
  EXPECT_EQ(json("true", 0), "true");
  EXPECT_EQ(json("True", 0), R"("True")");
  EXPECT_EQ(json("\"a\"", 0), R"("\"a\"")");
  EXPECT_EQ(json("a", 0), R"("a")");
}

// Only what any JSON reader takes is given as JSON.
TEST(ParameterJson, WhatIsNotJsonIsText) {
  for (const std::string_view text : {"NaN", "-Infinity", "01", "1 2", "{\"a\":1,\"a\":2}", "[1,]",
                                      "1e999", "\"\\ud800\"", "'a'"})
    EXPECT_EQ(json(text, kInteger).front(), '"') << text;
  EXPECT_EQ(json(std::string(63, '[') + std::string(63, ']'), kObject).front(), '[');
  EXPECT_EQ(json(std::string(64, '[') + std::string(64, ']'), kObject).front(), '"');
}

}  // namespace
}  // namespace hlwq
