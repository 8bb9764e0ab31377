#include "text/grammar/grammar_machine.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/random.h"

namespace hlwq {
namespace {

using Kind = GrammarTables::Kind;
using Node = GrammarTables::Node;

// What one state may hold, what a machine may remember (about 64 MiB in all), and how many frames
// one walk may touch (about a quarter of a second).
constexpr size_t kMostWaiting = 4096;
constexpr size_t kMostVisited = 1u << 16;
constexpr uint16_t kMostHeight = 4096;
constexpr size_t kMostFrames = 1u << 20;
constexpr size_t kMostStates = 1u << 17;
constexpr size_t kMostRows = 1u << 14;
constexpr size_t kMostRemembered = 1u << 21;  // frames of all states
constexpr uint64_t kMostWork = 1u << 23;

// Where a matcher stands in a text that ends with a terminator: an unfinished UTF-8 character, the
// bytes of the terminator that the text ends with, and the code points so far. Kept in Frame::at.
struct TextPlace {
  // The bytes that must follow inside a character; those with a first byte of their own rules are
  // told apart (Unicode table 3-7).
  enum Utf8 : uint32_t { kWhole, kOne, kTwo, kThree, kAfterE0, kAfterEd, kAfterF0, kAfterF4 };
  uint32_t utf8 = kWhole;
  uint32_t matched = 0;
  uint32_t count = 0;

  static TextPlace of(uint32_t at) { return {at & 7, (at >> 3) & 31, at >> 8}; }
  [[nodiscard]] uint32_t packed() const { return utf8 | matched << 3 | count << 8; }
};

std::optional<uint32_t> next_utf8(uint32_t utf8, uint8_t byte) {
  const auto within = [&](uint8_t first, uint8_t last, uint32_t next) -> std::optional<uint32_t> {
    if (byte < first || byte > last) return std::nullopt;
    return next;
  };
  switch (utf8) {
    case TextPlace::kOne:
      return within(0x80, 0xBF, TextPlace::kWhole);
    case TextPlace::kTwo:
      return within(0x80, 0xBF, TextPlace::kOne);
    case TextPlace::kThree:
      return within(0x80, 0xBF, TextPlace::kTwo);
    case TextPlace::kAfterE0:
      return within(0xA0, 0xBF, TextPlace::kOne);
    case TextPlace::kAfterEd:
      return within(0x80, 0x9F, TextPlace::kOne);
    case TextPlace::kAfterF0:
      return within(0x90, 0xBF, TextPlace::kTwo);
    case TextPlace::kAfterF4:
      return within(0x80, 0x8F, TextPlace::kTwo);
    default:
      break;
  }
  if (byte < 0x80) {
    const bool is_text =
        (byte >= 0x20 && byte != 0x7F) || byte == '\t' || byte == '\n' || byte == '\r';
    return is_text ? std::optional<uint32_t>(TextPlace::kWhole) : std::nullopt;
  }
  if (byte >= 0xC2 && byte <= 0xDF) return TextPlace::kOne;
  if (byte == 0xE0) return TextPlace::kAfterE0;
  if (byte == 0xED) return TextPlace::kAfterEd;
  if (byte >= 0xE1 && byte <= 0xEF) return TextPlace::kTwo;
  if (byte == 0xF0) return TextPlace::kAfterF0;
  if (byte >= 0xF1 && byte <= 0xF3) return TextPlace::kThree;
  if (byte == 0xF4) return TextPlace::kAfterF4;
  return std::nullopt;
}

enum class TextStep { kRefused, kGoesOn, kDone };

// Reads one byte of a text of `node`. Characters that may yet prove to be the terminator's count
// as text only once they have not.
TextStep step_text(const Node& node, const GrammarTables::Terminator& terminator, uint8_t byte,
                   TextPlace& place) {
  const bool began = place.utf8 == TextPlace::kWhole;
  const std::optional<uint32_t> utf8 = next_utf8(place.utf8, byte);
  if (!utf8) return TextStep::kRefused;
  place.utf8 = *utf8;
  const std::string& text = terminator.text;
  if (began) {
    ++place.count;
    const auto expects = [&](uint32_t matched) {
      return static_cast<uint8_t>(text[matched]) == byte;
    };
    while (place.matched > 0 && !expects(place.matched)) {
      place.matched = terminator.fallback[place.matched];
    }
    if (expects(place.matched)) ++place.matched;
  }
  const uint32_t sure = place.count - place.matched;
  if (place.matched == text.size())
    return sure >= node.least ? TextStep::kDone : TextStep::kRefused;
  if (node.most == kUnlimited) {
    // Beyond the least the count does not matter; without this every length were its own state.
    place.count = std::min(sure, node.least) + place.matched;
    return TextStep::kGoesOn;
  }
  // A text that is too short to end here must still be able to grow.
  const bool can_finish = sure <= node.most && (sure >= node.least || place.count < node.most);
  return can_finish ? TextStep::kGoesOn : TextStep::kRefused;
}

uint64_t mix(uint64_t a, uint64_t b) { return random_bits(a, b); }

}  // namespace

GrammarMachine::GrammarMachine(std::shared_ptr<const GrammarTables> tables)
    : tables_(std::move(tables)), frames_(1), buckets_(64, kNone), states_(2) {}

uint32_t GrammarMachine::start() {
  begin_node(tables_->root, kRoot);
  return close();
}

bool GrammarMachine::is_crowded() const {
  return frames_.size() > kMostFrames / 2 || states_.size() > kMostStates / 2 ||
         rows_.size() > kMostRows / 2 || waiting_.size() > kMostRemembered / 2;
}

void GrammarMachine::grow_buckets() {
  buckets_.assign(buckets_.size() * 2, kNone);
  for (uint32_t i = 1; i < frames_.size(); ++i) {
    Frame& entry = frames_[i];
    const uint64_t key = uint64_t{entry.node} << 32 | entry.at;
    uint32_t& bucket = buckets_[mix(key, entry.parent) & (buckets_.size() - 1)];
    entry.next_in_bucket = bucket;
    bucket = i;
  }
}

uint32_t GrammarMachine::frame(uint32_t node, uint32_t at, uint32_t parent) {
  const uint64_t hash = mix(uint64_t{node} << 32 | at, parent);
  for (uint32_t i = buckets_[hash & (buckets_.size() - 1)]; i != kNone;
       i = frames_[i].next_in_bucket) {
    const Frame& known = frames_[i];
    if (known.node == node && known.at == at && known.parent == parent) return i;
  }
  const Frame& below = frames_[parent];
  if (frames_.size() >= kMostFrames || below.height >= kMostHeight) {
    exceeded_ = true;
    return kNone;
  }
  if (frames_.size() >= buckets_.size()) grow_buckets();
  uint32_t& bucket = buckets_[hash & (buckets_.size() - 1)];
  const bool nests = at > 0 && tables_->nodes[node].nests;
  frames_.push_back({.node = node,
                     .at = at,
                     .parent = parent,
                     .next_in_bucket = bucket,
                     .nesting = static_cast<uint16_t>(below.nesting + (nests ? 1 : 0)),
                     .height = static_cast<uint16_t>(below.height + 1)});
  bucket = static_cast<uint32_t>(frames_.size() - 1);
  return bucket;
}

// The closure that is being made reaches `frame`.
void GrammarMachine::see(uint32_t frame) {
  if (frame == kRoot) {
    reached_end_ = true;
    return;
  }
  if (frame == kNone || frames_[frame].seen == closure_ + 1) return;
  frames_[frame].seen = closure_ + 1;
  pending_.push_back(frame);
}

void GrammarMachine::begin_node(uint32_t node, uint32_t parent) {
  if (parent == kNone) return;
  const uint32_t need = tables_->nodes[node].need;
  if (need == kNeverMatches || frames_[parent].nesting + need > tables_->nesting) return;
  see(frame(node, 0, parent));
}

void GrammarMachine::visit(uint32_t id) {
  const Frame top = frames_[id];  // by value: frames are added below
  const Node& node = tables_->nodes[top.node];
  switch (node.kind) {
    case Kind::kLiteral:
    case Kind::kBytes:
    case Kind::kTextUntil:
      found_.push_back(id);
      if (found_.size() > kMostWaiting) exceeded_ = true;
      return;
    case Kind::kSequence: {
      if (top.at == node.count) return see(top.parent);
      const bool is_last = top.at + 1 == node.count;
      // Nothing is left to come back to after the last node, so lists do not grow the stack.
      const uint32_t rest = is_last ? top.parent : frame(top.node, top.at + 1, top.parent);
      return begin_node(tables_->children[node.first + top.at], rest);
    }
    case Kind::kAlternatives:
      for (uint32_t i = 0; i < node.count && !exceeded_; ++i) {
        begin_node(tables_->children[node.first + i], top.parent);
      }
      work_ += node.count;
      return;
    case Kind::kRepeat: {
      if (top.at >= node.least) see(top.parent);
      if (top.at >= node.most) return;
      const uint32_t done = node.most == kUnlimited ? std::min(top.at + 1, node.least) : top.at + 1;
      const uint32_t rest = done == node.most ? top.parent : frame(top.node, done, top.parent);
      return begin_node(node.first, rest);
    }
    case Kind::kRule:
      return begin_node(node.first, top.parent);
  }
}

// The state of all that the frames in pending_ lead to without a byte.
uint32_t GrammarMachine::close() {
  size_t visited = 0;
  while (!pending_.empty() && !exceeded_) {
    const uint32_t next = pending_.back();
    pending_.pop_back();
    visit(next);
    if (++visited > kMostVisited) exceeded_ = true;
  }
  work_ += visited;
  const uint32_t state = exceeded_ ? kTooComplex : intern_state();
  pending_.clear();
  found_.clear();
  reached_end_ = false;
  exceeded_ = false;
  ++closure_;
  if (closure_ == UINT32_MAX - 1) {  // `seen` would start to repeat itself
    for (Frame& entry : frames_) entry.seen = 0;
    closure_ = 0;
  }
  return state;
}

uint32_t GrammarMachine::intern_state() {
  if (found_.empty() && !reached_end_) return kDead;
  std::sort(found_.begin(), found_.end());
  uint64_t hash = reached_end_ ? 1 : 0;
  for (const uint32_t id : found_) hash = mix(hash, id);
  const auto [entry, is_new] = state_of_hash_.try_emplace(hash, kNone);
  for (uint32_t i = entry->second; i != kNone; i = states_[i].next_of_hash) {
    const State& known = states_[i];
    if (known.can_end == reached_end_ && known.count == found_.size() &&
        std::equal(found_.begin(), found_.end(), waiting_.begin() + known.first)) {
      return i;
    }
  }
  if (states_.size() >= kMostStates || waiting_.size() + found_.size() > kMostRemembered) {
    if (is_new) state_of_hash_.erase(entry);
    return kTooComplex;
  }
  State state{.first = static_cast<uint32_t>(waiting_.size()),
              .count = static_cast<uint32_t>(found_.size()),
              .next_of_hash = entry->second,
              .can_end = reached_end_};
  waiting_.insert(waiting_.end(), found_.begin(), found_.end());
  if (found_.size() == 1) {
    const Frame& only = frames_[found_[0]];
    const Node& node = tables_->nodes[only.node];
    if (node.kind == Kind::kLiteral) {
      state.only_byte = static_cast<uint8_t>(tables_->bytes[node.first + only.at]);
    }
  }
  states_.push_back(state);
  entry->second = static_cast<uint32_t>(states_.size() - 1);
  return entry->second;
}

// What follows `state` after `byte`, found anew.
uint32_t GrammarMachine::take(uint32_t state, uint8_t byte) {
  const State from = states_[state];
  work_ += from.count;
  for (uint32_t i = 0; i < from.count && !exceeded_; ++i) {
    const Frame top = frames_[waiting_[from.first + i]];
    const Node& node = tables_->nodes[top.node];
    if (node.kind == Kind::kBytes) {
      if (tables_->classes[node.first].test(byte)) see(top.parent);
    } else if (node.kind == Kind::kLiteral) {
      if (static_cast<uint8_t>(tables_->bytes[node.first + top.at]) != byte) continue;
      see(top.at + 1 == node.count ? top.parent : frame(top.node, top.at + 1, top.parent));
    } else {
      TextPlace place = TextPlace::of(top.at);
      const TextStep step = step_text(node, tables_->terminators[node.first], byte, place);
      if (step == TextStep::kDone) see(top.parent);
      if (step == TextStep::kGoesOn) see(frame(top.node, place.packed(), top.parent));
    }
  }
  return close();
}

// Marks the bytes that no frame of `state` waits for, so that they need no step each.
void GrammarMachine::make_row(State& state) {
  ByteClass possible;
  for (uint32_t i = 0; i < state.count; ++i) {
    const Frame& top = frames_[waiting_[state.first + i]];
    const Node& node = tables_->nodes[top.node];
    if (node.kind == Kind::kBytes) {
      possible |= tables_->classes[node.first];
    } else if (node.kind == Kind::kLiteral) {
      possible.set(static_cast<uint8_t>(tables_->bytes[node.first + top.at]));
    } else {
      possible.set();
    }
  }
  state.row = static_cast<uint32_t>(rows_.size());
  std::array<uint32_t, 256>& row = rows_.emplace_back();
  for (size_t byte = 0; byte < row.size(); ++byte) row[byte] = possible[byte] ? kNone : kDead;
}

uint32_t GrammarMachine::make_step(uint32_t state, uint8_t byte) {
  if (state == kTooComplex) return kTooComplex;
  if (states_[state].count == 0) return kDead;
  if (work_ > kMostWork) return kTooComplex;
  if (states_[state].only_byte != kManyBytes) {
    const uint32_t next = take(state, byte);
    if (next != kTooComplex) states_[state].only_next = next;
    return next;
  }
  if (states_[state].row == kNone) {
    if (rows_.size() >= kMostRows) return kTooComplex;
    make_row(states_[state]);
    if (rows_[states_[state].row][byte] == kDead) return kDead;
  }
  const uint32_t next = take(state, byte);
  if (next != kTooComplex) rows_[states_[state].row][byte] = next;
  return next;
}

GrammarMachine GrammarMachine::compacted(uint32_t& state) const {
  GrammarMachine machine(tables_);
  if (state <= kTooComplex) return machine;
  const State& from = states_[state];
  // A frame's parent was made before it, so one pass down finds all that is alive and one pass up
  // copies it.
  std::vector<uint32_t> copies(frames_.size(), kNone);
  constexpr uint32_t kAlive = kNone - 1;
  for (uint32_t i = 0; i < from.count; ++i) copies[waiting_[from.first + i]] = kAlive;
  for (size_t i = frames_.size(); i-- > 1;) {
    if (copies[i] == kAlive) copies[frames_[i].parent] = kAlive;
  }
  copies[kRoot] = kRoot;
  for (size_t i = 1; i < frames_.size(); ++i) {
    if (copies[i] != kAlive) continue;
    copies[i] = machine.frame(frames_[i].node, frames_[i].at, copies[frames_[i].parent]);
  }
  for (uint32_t i = 0; i < from.count; ++i) {
    machine.found_.push_back(copies[waiting_[from.first + i]]);
  }
  machine.reached_end_ = from.can_end;
  state = machine.close();
  return machine;
}

}  // namespace hlwq
