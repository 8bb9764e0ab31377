#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hlwq {

// What the engine uses of tokenizer_config.json. Absent or null fields are empty.
struct TokenizerConfig {
  std::optional<std::string> bos_token, eos_token, unk_token;  // contents
  std::optional<std::string> chat_template;  // of several, the one named "default"

  // Errors: kBadHeader; names `where` and the field.
  static Result<TokenizerConfig> parse(std::string_view json, std::string_view where);
  // `folder`/tokenizer_config.json, all empty without that file; chat_template.jinja beside it, if
  // there, takes the place of the template in it.
  static Result<TokenizerConfig> read(const std::string& folder);
};

}  // namespace hlwq
