#pragma once
// Which tokens may come next: a grammar's state against a whole vocabulary.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/grammar/grammar_state.h"
#include "text/tokenizer.h"

namespace hlwq {

// The bytes of a tokenizer's tokens as a tree. Left out, and so never allowed: special tokens,
// ids without bytes, and tokens longer than 1,024 bytes. Immutable; safe from several threads.
class TokenTrie {
 public:
  explicit TokenTrie(const Tokenizer& tokenizer);

  [[nodiscard]] int32_t vocabulary_size() const { return vocabulary_size_; }
  // 64-bit words of a mask: one bit an id, the lowest bit of a word first.
  [[nodiscard]] size_t mask_words() const {
    return (static_cast<size_t>(vocabulary_size_) + 63) / 64;
  }

  // Sets the bit of every id whose bytes `state` accepts and clears all others. Stop tokens are
  // the caller's matter: allowed when state.can_end(). False when the grammar is too ambiguous to
  // follow every token: then a clear bit means "not known", a set one still "accepted".
  // `mask` has mask_words() words. Cost: a walk of the tree, cut where the grammar refuses.
  bool allowed(const GrammarState& state, std::span<uint64_t> mask) const;

  // The id's bit of `allowed`, for the cost of the token's bytes.
  [[nodiscard]] bool accepts(const GrammarState& state, int32_t id) const;

 private:
  struct Node {
    uint32_t after = 0;  // the next node that is not below this one
    uint32_t first_token = 0;
    uint16_t depth = 0;  // bytes before this one
    uint8_t byte = 0;
  };

  int32_t vocabulary_size_ = 0;
  size_t longest_ = 0;
  std::vector<Node> nodes_;       // before its children; one more at the end
  std::vector<int32_t> tokens_;   // of the nodes in their order
  std::string bytes_;             // of all ids in their order
  std::vector<uint32_t> begins_;  // of each id in bytes_, and the end; empty where left out
};

}  // namespace hlwq
