#include "text/grammar/token_trie.h"

#include <algorithm>

#include "base/check.h"
#include "text/grammar/grammar_machine.h"

namespace hlwq {
namespace {

constexpr size_t kMostTokenBytes = 1024;

}  // namespace

TokenTrie::TokenTrie(const Tokenizer& tokenizer) : vocabulary_size_(tokenizer.vocabulary_size()) {
  struct Entry {
    std::string_view bytes;
    int32_t id;
  };
  std::vector<Entry> entries;
  for (int32_t id = 0; id < vocabulary_size_; ++id) {
    begins_.push_back(static_cast<uint32_t>(bytes_.size()));
    const std::string_view bytes = tokenizer.bytes(id);
    if (bytes.empty() || bytes.size() > kMostTokenBytes || tokenizer.is_special(id)) continue;
    bytes_ += bytes;
    entries.push_back({bytes, id});
  }
  begins_.push_back(static_cast<uint32_t>(bytes_.size()));
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.bytes < b.bytes; });

  std::vector<uint32_t> path;  // nodes of the entry before
  std::string_view previous;
  const auto close_down_to = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back()) {
      nodes_[path.back()].after = static_cast<uint32_t>(nodes_.size());
    }
  };
  for (const Entry& entry : entries) {
    const auto parted =
        std::mismatch(previous.begin(), previous.end(), entry.bytes.begin(), entry.bytes.end());
    close_down_to(static_cast<size_t>(parted.first - previous.begin()));
    for (size_t depth = path.size(); depth < entry.bytes.size(); ++depth) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({.first_token = static_cast<uint32_t>(tokens_.size()),
                        .depth = static_cast<uint16_t>(depth),
                        .byte = static_cast<uint8_t>(entry.bytes[depth])});
    }
    tokens_.push_back(entry.id);
    longest_ = std::max(longest_, entry.bytes.size());
    previous = entry.bytes;
  }
  close_down_to(0);
  nodes_.push_back({.first_token = static_cast<uint32_t>(tokens_.size())});
}

bool TokenTrie::allowed(const GrammarState& state, std::span<uint64_t> mask) const {
  HLWQ_CHECK(mask.size() == mask_words());
  std::fill(mask.begin(), mask.end(), 0);
  GrammarMachine& machine = state.roomy_machine();
  std::vector<uint32_t> states(longest_ + 1);  // after each byte of the path to the node
  states[0] = state.state_;
  bool is_complete = true;
  const uint32_t end = static_cast<uint32_t>(nodes_.size() - 1);
  for (uint32_t i = 0; i < end;) {
    const Node& node = nodes_[i];
    const uint32_t next = machine.step(states[node.depth], node.byte);
    if (next <= GrammarMachine::kTooComplex) {
      is_complete &= next == GrammarMachine::kDead;
      i = node.after;
      continue;
    }
    states[node.depth + size_t{1}] = next;
    // A node's own tokens come before those of the nodes below it.
    for (uint32_t token = node.first_token; token < nodes_[i + 1].first_token; ++token) {
      const auto id = static_cast<size_t>(tokens_[token]);
      mask[id / 64] |= uint64_t{1} << (id % 64);
    }
    ++i;
  }
  return is_complete;
}

bool TokenTrie::accepts(const GrammarState& state, int32_t id) const {
  if (id < 0 || id >= vocabulary_size_) return false;
  const auto at = static_cast<size_t>(id);
  const std::string_view bytes =
      std::string_view(bytes_).substr(begins_[at], begins_[at + 1] - begins_[at]);
  return !bytes.empty() && state.accepts(bytes);
}

}  // namespace hlwq
