#pragma once
// The regular expressions of JSON schemas (ECMA-262 without look-around and back-references) as
// grammar nodes.

#include <cstdint>
#include <optional>
#include <string_view>

#include "text/grammar/characters.h"
#include "text/grammar/grammar.h"

namespace hlwq {

struct RegexNode {
  GrammarNode node{};
  uint32_t least = 0;  // length of its texts in code points
  uint32_t most = 0;   // or kUnlimited
  // Of "^x*$" and the like, where x is one character: x, whose number is all that the pattern says.
  std::optional<GrammarNode> only_character{};
};

// The texts in which `pattern` is found somewhere; "^" and "$" bind it to their ends. Characters
// outside `alphabet` do not occur. Errors: kInvalidArgument for a malformed pattern, kUnsupported
// for what is not listed: alternatives, groups, classes, \d \w \s and their complements, ".",
// quantifiers, escapes, and anchors at the ends of outermost alternatives. Messages give the byte.
[[nodiscard]] Result<RegexNode> regex_node(GrammarBuilder& builder, Characters& characters,
                                           std::string_view pattern, Spelling spelling,
                                           const CodePointSet& alphabet);

}  // namespace hlwq
