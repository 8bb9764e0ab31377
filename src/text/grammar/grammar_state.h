#pragma once
// Where a text stands in a grammar.

#include <string_view>

#include "text/grammar/grammar.h"

namespace hlwq {

class GrammarMachine;

// A value: copies do not know of each other. One thread at a time, const members too: what has
// been worked out is remembered.
class GrammarState {
 public:
  static GrammarState start(const Grammar& grammar);
  GrammarState(const GrammarState& other);  // costs the depth of the text, not its length
  GrammarState& operator=(const GrammarState& other);
  GrammarState(GrammarState&&) noexcept;
  GrammarState& operator=(GrammarState&&) noexcept;
  ~GrammarState();

  // Takes `bytes`, or returns false and changes nothing but `too_complex`.
  bool advance(std::string_view bytes);
  // As `advance`, and changes nothing.
  [[nodiscard]] bool accepts(std::string_view bytes) const;
  // The text so far is one of the grammar's.
  [[nodiscard]] bool can_end() const;
  // ... and no longer one is.
  [[nodiscard]] bool must_end() const;
  // The last refusal was because following the text needs more memory or time than a state may
  // take (a very ambiguous grammar): the text may or may not be the grammar's.
  [[nodiscard]] bool too_complex() const { return too_complex_; }

 private:
  friend class TokenTrie;
  GrammarState(std::unique_ptr<GrammarMachine> machine, uint32_t state);
  // With room to remember another token's steps.
  GrammarMachine& roomy_machine() const;
  [[nodiscard]] uint32_t after(std::string_view bytes) const;

  mutable std::unique_ptr<GrammarMachine> machine_;
  mutable uint32_t state_;
  mutable bool too_complex_ = false;
};

}  // namespace hlwq
