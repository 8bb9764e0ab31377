#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "text/tokenizer.h"

namespace hlwq {

// Text of tokens as they come, never cutting a character: what all `push` and the `finish` return,
// joined, is `Tokenizer::decode` of all ids. `tokenizer` must outlive this object.
class StreamDecoder {
 public:
  // `shown`: special tokens that are not skipped all the same.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = false,
                         std::vector<int32_t> shown = {})
      : tokenizer_(&tokenizer), skip_special_(skip_special), shown_(std::move(shown)) {}

  // What is certain now; empty while a character is unfinished (at most three bytes are held).
  [[nodiscard]] std::string push(int32_t id);
  // What an unfinished character leaves: nothing or U+FFFD. The decoder is then as new.
  [[nodiscard]] std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::vector<int32_t> shown_;
  std::string held_;  // the beginning of a character
};

}  // namespace hlwq
