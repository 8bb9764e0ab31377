#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hlwq::jinja {

struct Token {
  enum class Kind {
    kData,  // text to be written out
    kVariableBegin,
    kVariableEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,   // `text`: what it means, escapes undone
    kInteger,  // `text`: as written, without underscores
    kFloat,
    kOperator,  // `text`: the operator itself
    kEnd,
  };
  Kind kind = Kind::kEnd;
  std::string text;
  int line = 1;
};

// The tokens of a template, comments left out, white space around tags treated as Jinja does with
// trim_blocks and lstrip_blocks; the last is kEnd. `source` must be well-formed UTF-8.
// Errors: kBadHeader, beginning with `where` and the line.
[[nodiscard]] Result<std::vector<Token>> tokenize(std::string_view source, std::string_view where);

}  // namespace hlwq::jinja
