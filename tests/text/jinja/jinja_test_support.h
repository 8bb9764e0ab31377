#pragma once

#include <string>
#include <string_view>

#include "io/json.h"
#include "text/chat_template.h"

namespace hlwq::jinja {

// 2025-01-02 03:04:05, when the vectors were made.
std::tm vectors_time();

// A context's members become the variables of the template; the test fails if it does not compile.
Result<Rendered> render(std::string_view source, const OrderedJson& context = {},
                        const std::string& bos = "<s>", const std::string& eos = "</s>");

// The text; fails the test on an error.
std::string text_of(std::string_view source, const OrderedJson& context = {});
// The error of compiling or rendering; fails the test without one.
Error error_of(std::string_view source, const OrderedJson& context = {});

// The text with what is marked as data in «».
std::string marked(std::string_view source, const OrderedJson& context);

}  // namespace hlwq::jinja
