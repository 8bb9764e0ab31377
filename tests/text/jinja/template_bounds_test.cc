// Templates made to cost: each must end in an error, and soon.

#include <gtest/gtest.h>

#include <chrono>

#include "tests/text/jinja/jinja_test_support.h"

namespace hlwq::jinja {
namespace {

constexpr std::string_view kSteps = "the template takes more than 10000000 steps";
constexpr std::string_view kText = "a text of more than 67108864 bytes";
constexpr std::string_view kValues = "the template's values take more than 134217728 bytes";
constexpr std::string_view kNesting = "the template is nested deeper than 128 levels";
constexpr std::string_view kLevels = "an expression of more than 400 levels";

std::string repeated(std::string_view part, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += part;
  return text;
}

// In a loop of many rounds.
std::string often(std::string_view body) {
  return "{% for i in range(100000) %}" + std::string(body) + "{% endfor %}";
}

// In such a loop around what `start` sets ns.x to.
std::string growing(std::string_view start, std::string_view body) {
  return "{% set ns = namespace(x=" + std::string(start) + ") %}" +
         often("{% set ns.x = " + std::string(body) + " %}");
}

void expect_bound(const std::string& source, std::string_view message) {
  OrderedJson context = {{"s", repeated("é", 500'000)}};
  const auto begin = std::chrono::steady_clock::now();
  const Error error = error_of(source, context);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(error.code, ErrorCode::kInvalidArgument) << source.substr(0, 200);
  EXPECT_NE(error.message.find(message), std::string::npos)
      << source.substr(0, 200) << ": " << error.message;
  EXPECT_LT(seconds.count(), 20) << source.substr(0, 200);  // about 1 s, more under sanitizers
}

TEST(TemplateBounds, Steps) {
  expect_bound(often(often("")), kSteps);
  expect_bound(
      "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
      "{{ f(50) }}",
      kSteps);
  expect_bound(often("{{ range(100000)|length }}"), kSteps);
  expect_bound(often("{% set x = 'a' * 1000000 %}"), kSteps);
  expect_bound(often("{{ ('a' * 100000 + 'b') in ('a' * 1000000) }}"), kSteps);
  expect_bound(often("{{ s[400000] }}"), kSteps);
  expect_bound(often("{{ s[::2] }}"), kSteps);
  expect_bound(often("{{ s|title }}"), kSteps);
  expect_bound(often("{{ (' ' * 1000000).strip() }}"), kSteps);
  expect_bound(often("{{ range(100000)|sort|length }}"), kSteps);
  expect_bound(often("{{ range(1000)|unique|list|length }}"), kSteps);
  expect_bound("{{ ('a' * 60000000).split('a')|length }}", kSteps);
  expect_bound("{{ [1]|batch(10 ** 9, 0)|list }}", kSteps);
  // As many items as a tree has leaves, though few lists.
  const std::string tree =
      "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(90) %}"
      "{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}";
  expect_bound(tree + "{{ ns.x }}", kSteps);
  expect_bound(tree + "{{ ns.x|tojson }}", kSteps);
  expect_bound(tree + "{{ ns.x == ns.y }}", kSteps);
}

TEST(TemplateBounds, Bytes) {
  expect_bound("{{ 'a' * 10**9 }}", kText);
  expect_bound("{{ 'a' * 10**18 }}", kText);
  expect_bound(growing("'ab'", "ns.x + ns.x"), kText);
  expect_bound("{{ ('a' * 100000)|replace('a', 'b' * 100000) }}", kText);
  expect_bound("{{ range(100000)|join('b' * 100000) }}", kText);
  expect_bound("{{ 'a'|indent(10**18, true) }}", kText);
  expect_bound("{{ ('a\\n' * 100000)|indent(100000) }}", kText);
  expect_bound("{{ [[1]]|tojson(indent=10**18) }}", kText);
  expect_bound("{{ range(100000)|list|tojson(separators=('a' * 1000000, 'b')) }}", kText);
  expect_bound(growing("[1]", "ns.x + ns.x"), kValues);
  expect_bound("{{ ('a' * 60000000)|list }}", kValues);
  expect_bound("{{ ([1] * 100000000)|length }}", "a list of more than");
  expect_bound("{{ range(100001) }}", "a range of more than 100000 items");
  expect_bound("{{ range(0 - 10**18, 10**18) }}", "a range of more than 100000 items");
  expect_bound(std::string(600'000, 'x'), "a template of 600000 bytes, at most 524288");
  expect_bound("{{ [" + repeated("1,", 200'000) + "] }}", "more than 100000 expressions");
}

TEST(TemplateBounds, Depth) {
  expect_bound("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nested too deep");
  expect_bound(
      "{% macro f() %}{{ caller() }}{% endmacro %}{% macro g() %}{% call f() %}{{ g() }}"
      "{% endcall %}{% endmacro %}{{ g() }}",
      "nested too deep");
  expect_bound("{{ " + repeated("(", 100'000) + "1" + repeated(")", 100'000) + " }}", kNesting);
  expect_bound("{{ " + repeated("[", 100'000) + repeated("]", 100'000) + " }}", kNesting);
  expect_bound("{{ " + repeated("not ", 100'000) + "1 }}", kNesting);
  expect_bound("{{ " + repeated("-", 100'000) + "1 }}", kNesting);
  expect_bound("{% set " + repeated("(", 100'000) + "a" + repeated(")", 100'000) + " = 1 %}",
               kNesting);
  expect_bound(repeated("{% if 1 %}", 20'000), kNesting);
  expect_bound("{{ 1" + repeated("+1", 100'000) + " }}", kLevels);
  expect_bound("{{ 1" + repeated("|abs", 100'000) + " }}", kLevels);
  expect_bound("{{ s" + repeated(".a", 100'000) + " }}", kLevels);
  expect_bound("{{ 1" + repeated(" if 1", 50'000) + " }}", kLevels);
  // Values that would come apart recursively.
  expect_bound(growing("1", "[ns.x]"), "lists nested deeper than 100 levels");
  expect_bound(growing("1", "{'k': ns.x}"), "dicts nested deeper than 100 levels");
  expect_bound(growing("1", "[ns.x].index"), "lists nested deeper than 100 levels");
  expect_bound(growing("'x'", "joiner(ns.x)"), "joiners nested too deep");
  EXPECT_EQ(text_of(growing("1", "namespace(x=ns.x)") + "{{ ns.x.x.x is defined }}"), "True");
  OrderedJson deep = 1;
  for (int i = 0; i < 200; ++i) deep = OrderedJson::array({deep});
  EXPECT_NE(error_of("{{ v }}", {{"v", deep}}).message.find("nested deeper than 100"),
            std::string::npos);
}

TEST(TemplateBounds, NamespacesMayHoldThemselves) {
  EXPECT_EQ(text_of("{% set ns = namespace() %}{% set ns.a = ns %}{% set ns.b = [ns, ns.items] %}"
                    "{{ ns.a.a.b[0].a is defined }}"),
            "True");
}

TEST(TemplateBounds, RealConversationsAreFarBelow) {
  OrderedJson messages = OrderedJson::array();
  for (int i = 0; i < 1000; ++i) {
    messages.push_back({{"role", "user"}, {"content", repeated("Hello <world> ", 100)}});
    messages.push_back({{"role", "assistant"}, {"content", repeated("answer é ", 100)}});
  }
  const std::string text = text_of(
      "{% for m in messages %}<{{ m.role }}>{{ m.content|trim|replace('<', '[') }}\n{% endfor %}",
      {{"messages", messages}});
  EXPECT_GT(text.size(), 2'000'000u);
}

}  // namespace
}  // namespace hlwq::jinja
