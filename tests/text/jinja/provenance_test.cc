// Which bytes of a rendering count as the conversation's.

#include <gtest/gtest.h>

#include "tests/text/jinja/jinja_test_support.h"

namespace hlwq::jinja {
namespace {

OrderedJson context() {
  return {{"s", "ab"}, {"spaced", "  x\ny  "}, {"list", {"p", "q", "p"}}, {"map", {{"k", "v"}}},
          {"n", 5},    {"lines", "a\nb"}};
}

void expect_marked(std::string_view source, std::string_view want) {
  EXPECT_EQ(marked(source, context()), want) << source;
}

TEST(Provenance, TemplatesOwnWordsAreTrusted) {
  expect_marked("<|{{ bos_token }}{{ 'x' ~ 1 }}{{ eos_token }}", "<|<s>x1</s>");
  expect_marked("{{ {'a': [1, 'b']}|tojson }}{{ [1, 'b'] }}", "{\"a\": [1, \"b\"]}[1, 'b']");
  expect_marked("{{ strftime_now('%Y') }}{{ true }}{{ none }}", "2025TrueNone");
}

TEST(Provenance, SurvivesOperationsOnText) {
  expect_marked("<{{ s }}>", "<«ab»>");
  expect_marked("{{ '<' + s + '>' }}", "<«ab»>");
  expect_marked("{{ '<' ~ s ~ '>' }}{{ s ~ s }}", "<«ab»>«abab»");
  expect_marked("{{ ('<' + s + '>')[1:-1] }}|{{ ('<' + s + '>')[::-1] }}|{{ ('<' + s)[1] }}",
                "«ab»|>«ba»<|«a»");
  expect_marked("{{ ('<' + s + '>').upper() }}{{ ('<' + s)|capitalize }}{{ s|title }}",
                "<«AB»><«abAb»");
  expect_marked("{{ ('x,' + s + ',y').split(',')|join('|') }}", "x|«ab»|y");
  expect_marked("{{ (' ' + spaced + ' ')|trim }}", "«x\ny»");
  expect_marked("{{ ('<b>' + s).replace('b', 'XY') }}", "<XY>«a»XY");
  expect_marked("{{ '<b>'.replace('b', s) }}", "<«ab»>");
  expect_marked("{{ ('> ' + lines)|indent(2, true) }}", "  > «a»\n  «b»");
  expect_marked("{{ 'a\nb'|indent(s) }}", "a\n«ab»b");
  expect_marked("{{ list|join('-') }}{{ '-'.join(list) }}{{ ['x', 'y']|join(s) }}",
                "«p»-«q»-«pp»-«q»-«p»x«ab»y");
  expect_marked("{{ (s * 2) }}{{ ('x' + s) * 2 }}", "«abab»x«ab»x«ab»");
  expect_marked("{{ ('x' + s)|list|last }}{{ ('x' + s)|reverse }}", "«bba»x");
  expect_marked("{{ ('x=' + s).partition('=')[2] }}{{ ('x=' + s).removeprefix('x') }}",
                "«ab»=«ab»");
  expect_marked("{{ ('x\n' + lines).splitlines()|join('/') }}", "x/«a»/«b»");
}

TEST(Provenance, SurvivesBlocksMacrosAndContainers) {
  expect_marked("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(s) }}{{ m('t') }}", "<«ab»><t>");
  expect_marked("{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}c{{ s }}{% endcall %}",
                "<c«ab»>");
  expect_marked("{% set x %}<{{ s }}>{% endset %}{{ x }}", "<«ab»>");
  expect_marked("{% filter upper %}<{{ s }}>{% endfilter %}", "<«AB»>");
  expect_marked(
      "{% set ns = namespace(x='') %}{% for i in list %}{% set ns.x = ns.x ~ i ~ ',' %}"
      "{% endfor %}{{ ns.x }}",
      "«p»,«q»,«p»,");
  expect_marked("{% for k, v in map.items() %}{{ k }}={{ v }}{% endfor %}", "«k»=«v»");
  expect_marked("{{ {'t': s}.t }}{{ ['t', s][0] }}{{ (list|unique|list)[1] }}", "«ab»t«q»");
  expect_marked("{{ {'t': 'u'}[list|first]|default('none') }}", "none");
  expect_marked("{{ list|map('upper')|join }}", "«PQP»");
  expect_marked("{{ list|sort|first ~ '.' ~ [s, 'Z']|min }}", "«p».«ab»");
}

TEST(Provenance, WhatShowsDataIsData) {
  expect_marked("{{ map|tojson }}{{ {'x': s}|tojson }}{{ {'x': 1}|tojson }}",
                "«{\"k\": \"v\"}{\"x\": \"ab\"}»{\"x\": 1}");
  expect_marked("{{ [list] }}{{ [1] }}", "«[['p', 'q', 'p']]»[1]");
  expect_marked("{{ n }}{{ n + 1 }}{{ -n }}{{ 1 }}{{ n|float }}{{ s|int }}", "«56-5»1«5.00»");
  expect_marked("{{ [1]|tojson(indent=s) }}", "«[\nab1\n]»");
  expect_marked("{{ strftime_now('%Y' ~ s) }}", "«2025ab»");
}

TEST(Provenance, ThinkMarksOfTheAssistantAreTrusted) {
  const OrderedJson messages = {{{"role", "assistant"}, {"content", "<think>a</think><x><think"}},
                                {{"role", "assistant"},
                                 {"content", {{{"type", "text"}, {"text", "b</think>"}}}},
                                 {"name", "<think>"}},
                                {{"role", "user"}, {"content", "<think>c</think>"}},
                                {{"role", "tool"}, {"content", "</think>"}}};
  EXPECT_EQ(marked("{% for m in messages %}{{ m.content[0].text or m.content }}{{ m.name }}\n"
                   "{% endfor %}",
                   {{"messages", messages}}),
            "<think>«a»</think>«<x><think»\n«b»</think>«<think>»\n«<think>c</think>»\n"
            "«</think>»\n");
  // What only comes together from parts is not the mark.
  EXPECT_EQ(marked("{{ messages[0].content.replace('<think>', '') }}",
                   {{"messages", {{{"role", "assistant"}, {"content", "<th<think>ink>"}}}}}),
            "«<think>»");
}

TEST(Provenance, TextThatIsNotUtf8IsRepaired) {
  EXPECT_EQ(marked("<{{ s }}>", {{"s", "a\xFFz"}}), "<«a\uFFFDz»>");
}

}  // namespace
}  // namespace hlwq::jinja
