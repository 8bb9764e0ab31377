#include <gtest/gtest.h>

#include "tests/text/jinja/jinja_test_support.h"

namespace hlwq::jinja {
namespace {

void expect_error(std::string_view source, ErrorCode code, std::string_view message) {
  const Error error = error_of(source, {{"n", 7}, {"d", {{"a", 1}}}});
  EXPECT_EQ(error.code, code) << source << ": " << error.message;
  EXPECT_EQ(error.message, message) << source;
}

TEST(TemplateErrors, SyntaxNamesTheLine) {
  const ErrorCode code = ErrorCode::kBadHeader;
  expect_error("a\n{{ 1 2 }}", code, "test: line 2: expected '}}', got '2'");
  expect_error("{% if n %}\n\nx", code, "test: line 3: the template ends without {% endif %}");
  expect_error("{% endfor %}", code, "test: line 1: unexpected 'endfor'");
  expect_error("\n{{ (1] }}", code, "test: line 2: unexpected ']', expected ')'");
  expect_error("{{ 'a }}", code, "test: line 1: a string without end");
  expect_error("{{ a", code, "test: line 1: the template ends inside a tag");
  expect_error("{{ a ! }}", code, "test: line 1: unexpected character '!'");
  expect_error("{# a", code, "test: line 1: a comment without end");
  expect_error("{% raw %}{{", code, "test: line 1: {% raw %} without {% endraw %}");
  expect_error("{% break %}", code, "test: line 1: 'break' outside of a loop");
  expect_error("{% for x in n %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}", code,
               "test: line 1: 'break' outside of a loop");
  expect_error("{% set none = 1 %}", code, "test: line 1: can't assign to 'none'");
  expect_error("{{ '\\ud800' }}", code, "test: line 1: an escape of no character (U+D800)");
  expect_error("{{ '\\x4' }}", code, "test: line 1: a \\x escape without its 2 digits");
  expect_error("\xFF", code, "test: the template is not UTF-8");
}

TEST(TemplateErrors, WhatIsNotSupportedIsNamed) {
  const ErrorCode code = ErrorCode::kUnsupported;
  expect_error("\n{% include 'x' %}", code, "test: line 2: the tag 'include' is not supported");
  expect_error("{% if 0 %}{{ n|foo }}{% endif %}", code,
               "test: line 1: the filter 'foo' is not supported");
  expect_error("{{ n is foo }}", code, "test: line 1: the test 'foo' is not supported");
  expect_error("{% for x in n recursive %}{% endfor %}", code,
               "test: line 1: recursive loops are not supported");
  expect_error("{{ cycler(1) }}", code, "test: line 1: the function 'cycler' is not supported");
  expect_error("{{ 'a'.format(1) }}", code,
               "test: line 1: the method 'format' of str is not supported");
  expect_error("{{ '%s' % 1 }}", code, "test: line 1: formatting with '%' is not supported");
  expect_error("{{ strftime_now('%Q') }}", code,
               "test: line 1: strftime_now: the format '%Q' is not supported");
  expect_error("{{ range }}", code, "test: line 1: printing a function");
  expect_error("{{ 99999999999999999999 }}", code, "test: line 1: an integer of more than 64 bits");
  expect_error(
      "{% set ns = namespace() %}{% for x in [1] %}{% macro m() %}{% endmacro %}"
      "{% set ns.m = m %}{% endfor %}{{ ns.m() }}",
      code, "test: line 1: macro 'm' is called outside of the block that defines it");
}

TEST(TemplateErrors, WhatGoesWrongWithTheInput) {
  const ErrorCode code = ErrorCode::kInvalidArgument;
  expect_error("{{ x }}\n{{ x.y }}", code, "test: line 2: 'x' is undefined");
  expect_error("{{ d.b.c }}", code, "test: line 1: 'dict object' has no attribute 'b'");
  expect_error("{{ [1][3].c }}", code, "test: line 1: list object has no element 3");
  expect_error("{{ none.a.b }}", code, "test: line 1: 'None' has no attribute 'a'");
  expect_error("{{ 'a' + 1 }}", code,
               "test: line 1: can only concatenate str (not \"int\") to str");
  expect_error("{{ 1 // 0 }}", code, "test: line 1: division by zero");
  expect_error("{{ n() }}", code, "test: line 1: 'int' object is not callable");
  expect_error("{{ 9223372036854775807 * 3 }}", code,
               "test: line 1: an integer of more than 64 bits");
  expect_error("{{ d.update({}) }}", code,
               "test: line 1: access to attribute 'update' of 'dict' object is unsafe");
  expect_error("{{ [].append(1) }}", code,
               "test: line 1: access to attribute 'append' of 'list' object is unsafe");
  expect_error("{{ range|tojson }}", code,
               "test: line 1: Object of type function is not JSON serializable");
  // The template's own words, on one line.
  expect_error("\n{{ raise_exception('only\n' ~ n) }}", code, "test: only\\x0a7");
}

}  // namespace
}  // namespace hlwq::jinja
