#pragma once
// Runs a grammar: a nondeterministic pushdown machine whose sets of stacks are numbered and whose
// steps are remembered, a deterministic machine made as it is walked.
//
// A frame is a place in a node and the frame to return to; frames are kept once for equal content,
// so stacks share their tails and equal stacks have one number. A state is the set of frames that
// wait for a byte. Frames and states only grow; `compact` starts anew from one state.

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "text/grammar/grammar_tables.h"

namespace hlwq {

class GrammarMachine {
 public:
  static constexpr uint32_t kDead = 0;        // the byte is refused
  static constexpr uint32_t kTooComplex = 1;  // a limit was reached: neither accepted nor refused

  explicit GrammarMachine(std::shared_ptr<const GrammarTables> tables);

  // Never kDead; kTooComplex when the grammar's own beginning exceeds a limit.
  [[nodiscard]] uint32_t start();
  [[nodiscard]] uint32_t step(uint32_t state, uint8_t byte) {
    const State& from = states_[state];
    if (from.row != kNone) {
      if (const uint32_t next = rows_[from.row][byte]; next != kNone) return next;
    } else if (from.only_byte != kManyBytes) {
      if (from.only_byte != byte) return kDead;
      if (from.only_next != kNone) return from.only_next;
    }
    return make_step(state, byte);
  }
  [[nodiscard]] bool can_end(uint32_t state) const { return states_[state].can_end; }
  // No byte may follow.
  [[nodiscard]] bool is_final(uint32_t state) const { return states_[state].count == 0; }

  // So much is remembered that work of one token's size might not fit.
  [[nodiscard]] bool is_crowded() const;
  // A machine that holds what `state` needs; `state` becomes its number there.
  [[nodiscard]] GrammarMachine compacted(uint32_t& state) const;
  // Gives back the steps that are counted against one walk; see kMostWork.
  void rest() { work_ = 0; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kRoot = 0;  // the frame below all: the whole text has been matched
  static constexpr uint16_t kManyBytes = 256;

  struct Frame {
    uint32_t node = 0;
    uint32_t at = 0;  // bytes, children or turns done; of kTextUntil see TextPlace in the .cc
    uint32_t parent = 0;
    uint32_t next_in_bucket = 0;
    uint32_t seen = 0;  // the closure that saw it last
    uint16_t nesting = 0;
    uint16_t height = 0;
  };
  struct State {
    uint32_t first = 0;  // of waiting_
    uint32_t count = 0;
    uint32_t row = kNone;
    uint32_t only_next = kNone;
    uint32_t next_of_hash = kNone;
    uint16_t only_byte = kManyBytes;  // the one byte that can follow, where that is plain
    bool can_end = false;
  };

  uint32_t make_step(uint32_t state, uint8_t byte);
  [[nodiscard]] uint32_t take(uint32_t state, uint8_t byte);
  // The frame of this content, kNone where a limit forbids it.
  uint32_t frame(uint32_t node, uint32_t at, uint32_t parent);
  void see(uint32_t frame);
  void begin_node(uint32_t node, uint32_t parent);
  void visit(uint32_t frame);
  [[nodiscard]] uint32_t close();
  uint32_t intern_state();
  void make_row(State& state);
  void grow_buckets();

  std::shared_ptr<const GrammarTables> tables_;
  std::vector<Frame> frames_;
  std::vector<uint32_t> buckets_;
  std::vector<State> states_;
  std::vector<uint32_t> waiting_;  // frames of states
  std::vector<std::array<uint32_t, 256>> rows_;
  std::unordered_map<uint64_t, uint32_t> state_of_hash_;

  // One closure: frames to visit, frames that wait for a byte, and what went wrong.
  std::vector<uint32_t> pending_;
  std::vector<uint32_t> found_;
  uint32_t closure_ = 0;
  uint64_t work_ = 0;
  bool reached_end_ = false;
  bool exceeded_ = false;
};

}  // namespace hlwq
