#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_range.h"
#include "text/flat_map.h"

namespace hlwq {

// One entry of `added_tokens`: text that becomes one token before anything else looks at it.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  // only where no word character is next to it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and after it
  bool normalized = false;   // is looked for in normalized text
  bool special = false;      // a control token: hidden when decoding skips these
};

// Finds added tokens in text: at each place the longest, the leftmost first, not overlapping.
class AddedTokenMatcher {
 public:
  // A scan takes up to this many steps at each byte of adverse text.
  static constexpr size_t kMostContentBytes = 4096;

  // Contents must be well-formed UTF-8, distinct and not empty.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  // `token` null: plain text, not empty. Else `text` is what the token covers, stripped space
  // included.
  using Sink = std::function<void(std::string_view text, const AddedToken* token)>;

  // Hands well-formed `text` to `sink` in order. A token that `single_word` forbids stays text. As
  // in the Hugging Face library, tokens are found before space is stripped, so a token made of
  // spaces that another one's rstrip covers is reported all the same. No token has bytes of its
  // content in `plain` (sorted, apart from each other); where a longer token reaches into it, a
  // shorter one is still found.
  void split(std::string_view text, const Sink& sink, std::span<const ByteRange> plain = {}) const;

 private:
  // The longest token that `text` begins with, or null.
  [[nodiscard]] const AddedToken* longest_at(std::string_view text) const;

  std::vector<AddedToken> tokens_;
  // A trie. Edge (node << 8 | byte) -> node, the root being node 0; ends_[node]: index of the token
  // that ends there, or -1.
  FlatMap<uint32_t> edges_;
  std::vector<int32_t> ends_;
  bool begins_[256] = {};  // bytes some token begins with
};

}  // namespace hlwq
