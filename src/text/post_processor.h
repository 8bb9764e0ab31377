#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hlwq {

// What the `post_processor` of tokenizer.json puts around the ids of one text.
struct PostProcessor {
  std::vector<int32_t> before, after;

  // ByteLevel (adds nothing), TemplateProcessing (its `single` template) and Sequence of these; the
  // JSON value null adds nothing. Ids are not checked against a vocabulary.
  // Errors: kUnsupported for other kinds; kBadHeader; kBadLayout.
  static Result<PostProcessor> from_json(const nlohmann::json& json, std::string_view where);
};

}  // namespace hlwq
