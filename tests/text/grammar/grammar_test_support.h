#pragma once
// What the tests of grammars share: acceptance of whole texts, random texts of a grammar, and a
// small validator of JSON schemas that knows the keywords that the compiler does.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "text/grammar/grammar_state.h"
#include "text/grammar/schema.h"

namespace hlwq {

using OrderedJson = nlohmann::ordered_json;

// Compiles; fails the test on an error.
Grammar grammar_of(std::string_view schema);

// The message of the refusal, which must have this code; fails the test otherwise.
std::string refusal_of(std::string_view schema, ErrorCode code, const SchemaLimits& limits = {});

bool accepts(const Grammar& grammar, std::string_view text);

// A text of the grammar: random bytes that it allows, more and more of those that lead to an end.
// Fails the test when the text does not end within `most_bytes` or there is a dead end.
std::string random_text(const Grammar& grammar, uint64_t seed, size_t most_bytes = 20000);

// What of `value` is not by `schema`; empty when it is valid.
std::string violation(const OrderedJson& schema, const OrderedJson& value);

}  // namespace hlwq
