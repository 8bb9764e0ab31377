#include "text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace hlwq {
namespace {

using Json = nlohmann::json;
using Strings = std::vector<std::string>;

Strings pieces(const Json& json, std::string_view text) {
  const auto splitter = PreTokenizer::from_json(json, "f");
  EXPECT_TRUE(splitter) << splitter.error().message;
  PatternScratch scratch;
  Strings result;
  EXPECT_TRUE(
      splitter->split(text, scratch, [&](std::string_view piece) { result.emplace_back(piece); }));
  return result;
}

Json split(const char* kind, const char* pattern) {
  return {{"type", "Split"}, {"pattern", {{kind, pattern}}}, {"behavior", "Isolated"}};
}

Json byte_level(bool prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", prefix_space}, {"use_regex", use_regex}};
}

Json sequence(std::vector<Json> steps) {
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

TEST(PreTokenizer, ByteLevelPattern) {
  EXPECT_EQ(pieces(byte_level(false, true), "I'll  go\n 42x!"),
            (Strings{"I", "'ll", " ", " go", "\n", " 42", "x", "!"}));
  EXPECT_EQ(pieces(byte_level(false, false), "a b"), Strings{"a b"});
  // use_regex and add_prefix_space are true when absent.
  EXPECT_EQ(pieces({{"type", "ByteLevel"}}, "a b"), (Strings{" a", " b"}));
}

TEST(PreTokenizer, PrefixSpaceIsAddedOncePerStretch) {
  EXPECT_EQ(pieces(byte_level(true, true), " a"), Strings{" a"});
  EXPECT_EQ(pieces(byte_level(true, true), ""), Strings{});
  EXPECT_EQ(pieces(sequence({split("String", "-"), byte_level(true, false)}), "a-b"),
            (Strings{" a", " -", " b"}));
}

TEST(PreTokenizer, MatchesAndGapsAreIsolated) {
  EXPECT_EQ(pieces(sequence({split("Regex", "\\d+"), byte_level(false, false)}), "ab12cd3"),
            (Strings{"ab", "12", "cd", "3"}));
  EXPECT_EQ(pieces(sequence({split("String", ".*"), byte_level(false, false)}), "a.*b.b"),
            (Strings{"a", ".*", "b.b"}));
  // Each step sees one piece of the step before: the look-ahead ends there.
  EXPECT_EQ(pieces(sequence({split("Regex", "x"), split("Regex", "\\s+(?!\\S)|\\s"),
                             byte_level(false, false)}),
                   "a  xb"),
            (Strings{"a", "  ", "x", "b"}));
}

TEST(PreTokenizer, Digits) {
  const auto digits = [](bool individual) {
    return sequence(
        {{{"type", "Digits"}, {"individual_digits", individual}}, byte_level(false, true)});
  };
  EXPECT_EQ(pieces(digits(true), "in 2024, x2"),
            (Strings{"in", " ", "2", "0", "2", "4", ",", " x", "2"}));
  EXPECT_EQ(pieces(digits(false), "in 2024, x2"), (Strings{"in", " ", "2024", ",", " x", "2"}));
  // Digits, letters that are numbers, and fractions of every script.
  EXPECT_EQ(pieces(digits(true), "\u0663\u2167\u00BD"), (Strings{"\u0663", "\u2167", "\u00BD"}));
}

TEST(PreTokenizer, EmptyMatchesCutButGiveNoPiece) {
  EXPECT_EQ(pieces(sequence({split("Regex", "b*"), byte_level(false, false)}), "a\u00E9bbc"),
            (Strings{"a", "\u00E9", "bb", "c"}));
}

TEST(PreTokenizer, Refuses) {
  const auto code = [](const Json& json) {
    const auto result = PreTokenizer::from_json(json, "f.json");
    EXPECT_FALSE(result) << json;
    EXPECT_EQ(result.error().message.find("f.json: pre_tokenizer"), 0u) << result.error().message;
    return result.error().code;
  };
  EXPECT_EQ(code({{"type", "Metaspace"}}), ErrorCode::kUnsupported);
  EXPECT_EQ(code(sequence({})), ErrorCode::kUnsupported);
  EXPECT_EQ(code(split("Regex", "a")), ErrorCode::kUnsupported);  // no ByteLevel
  EXPECT_EQ(code(sequence({byte_level(false, false), split("Regex", "a")})),
            ErrorCode::kUnsupported);
  Json removed = split("Regex", "a");
  removed["behavior"] = "Removed";
  EXPECT_EQ(code(sequence({removed, byte_level(false, false)})), ErrorCode::kUnsupported);
  EXPECT_EQ(code(sequence(std::vector<Json>(40, split("Regex", "a")))), ErrorCode::kUnsupported);
  EXPECT_EQ(code({{"type", 3}}), ErrorCode::kBadHeader);
  EXPECT_EQ(code("ByteLevel"), ErrorCode::kBadHeader);
  EXPECT_EQ(code(sequence({split("Regexp", "a"), byte_level(false, false)})),
            ErrorCode::kBadHeader);
  EXPECT_EQ(code({{"type", "ByteLevel"}, {"use_regex", 1}}), ErrorCode::kBadHeader);
}

TEST(PreTokenizer, ExponentialPatternIsAnError) {
  const auto splitter = PreTokenizer::from_json(
      sequence({split("Regex", "(a|aa|a[a])+$"), byte_level(false, false)}), "f.json");
  ASSERT_TRUE(splitter);
  PatternScratch scratch;
  const Status status = splitter->split(std::string(200, 'a') + "c", scratch, [](auto) {});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kBadValue);
  EXPECT_NE(status.error().message.find("pretokenizers[0].pattern"), std::string::npos);
}

}  // namespace
}  // namespace hlwq
