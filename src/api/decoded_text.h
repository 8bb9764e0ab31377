#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/generate.h"
#include "text/stream_decoder.h"

namespace hlwq {

// Text of an answer as runtime wants it: without special tokens, but for those in `shown`.
class DecodedText : public TokenText {
 public:
  explicit DecodedText(const Tokenizer& tokenizer, std::vector<int32_t> shown = {})
      : decoder_(tokenizer, /*skip_special=*/true, std::move(shown)) {}
  std::string append(int32_t id) override { return decoder_.push(id); }
  std::string finish() override { return decoder_.finish(); }

 private:
  StreamDecoder decoder_;
};

}  // namespace hlwq
