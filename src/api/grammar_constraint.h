#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/logit_edits.h"
#include "text/grammar/grammar_state.h"
#include "text/grammar/token_trie.h"
#include "text/tokenizer.h"

namespace hlwq {

// Keeps an answer inside a grammar: a token may come when the grammar takes its bytes, a stop token
// when the text may end. With `after_reasoning` everything but a stop may come up to </think>.
class GrammarConstraint : public TokenConstraint {
 public:
  // `tokenizer` and `trie` must outlive it.
  GrammarConstraint(const Tokenizer& tokenizer, const TokenTrie& trie, const Grammar& grammar,
                    std::vector<int32_t> stop_ids, bool after_reasoning);

  bool allows(int32_t id) override;
  void allowed(std::span<uint64_t> mask) override;
  bool accept(int32_t id) override;
  bool is_complete() override;

 private:
  [[nodiscard]] bool is_stop(int32_t id) const;
  void reason(std::string_view bytes);

  const Tokenizer& tokenizer_;
  const TokenTrie& trie_;
  GrammarState state_;
  std::vector<int32_t> stop_ids_;
  bool reasoning_;
  std::string tail_;  // of the reasoning, as much as </think> could begin in
};

}  // namespace hlwq
