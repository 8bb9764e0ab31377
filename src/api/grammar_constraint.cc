#include "api/grammar_constraint.h"

#include <algorithm>
#include <utility>

namespace hlwq {
namespace {

constexpr std::string_view kReasoningEnd = "</think>";

}  // namespace

GrammarConstraint::GrammarConstraint(const Tokenizer& tokenizer, const TokenTrie& trie,
                                     const Grammar& grammar, std::vector<int32_t> stop_ids,
                                     bool after_reasoning)
    : tokenizer_(tokenizer),
      trie_(trie),
      state_(GrammarState::start(grammar)),
      stop_ids_(std::move(stop_ids)),
      reasoning_(after_reasoning) {}

bool GrammarConstraint::is_stop(int32_t id) const {
  return std::find(stop_ids_.begin(), stop_ids_.end(), id) != stop_ids_.end();
}

bool GrammarConstraint::allows(int32_t id) {
  if (is_stop(id)) return !reasoning_ && state_.can_end();
  return reasoning_ || trie_.accepts(state_, id);
}

void GrammarConstraint::allowed(std::span<uint64_t> mask) {
  const auto set = [&](int32_t id, bool value) {
    if (id < 0 || static_cast<size_t>(id) / 64 >= mask.size()) return;
    const uint64_t bit = uint64_t{1} << (id % 64);
    uint64_t& word = mask[static_cast<size_t>(id) / 64];
    word = value ? word | bit : word & ~bit;
  };
  if (reasoning_) {
    std::fill(mask.begin(), mask.end(), ~uint64_t{0});
  } else {
    std::vector<uint64_t> words(trie_.mask_words());
    static_cast<void>(trie_.allowed(state_, words));  // what it does not know stays forbidden
    std::copy_n(words.begin(), std::min(words.size(), mask.size()), mask.begin());
  }
  for (const int32_t id : stop_ids_) set(id, !reasoning_ && state_.can_end());
}

// A tag is a token of its own in the models that have it; elsewhere what follows it in the same
// token is white space or nothing.
void GrammarConstraint::reason(std::string_view bytes) {
  tail_ += bytes;
  if (tail_.find(kReasoningEnd) != std::string::npos) reasoning_ = false;
  if (tail_.size() >= kReasoningEnd.size())
    tail_.erase(0, tail_.size() - (kReasoningEnd.size() - 1));
}

bool GrammarConstraint::accept(int32_t id) {
  if (reasoning_) {
    reason(tokenizer_.bytes(id));
    return true;
  }
  return state_.advance(tokenizer_.bytes(id));
}

bool GrammarConstraint::is_complete() { return !reasoning_ && state_.must_end(); }

}  // namespace hlwq
