#include "text/grammar/characters.h"

#include <algorithm>
#include <array>
#include <span>

#include "text/grammar/digit_ranges.h"

namespace hlwq {
namespace {

constexpr uint32_t kLastCodePoint = 0x10FFFF;
constexpr CodePointRange kSurrogates{0xD800, 0xDFFF};

// Digits of a number, the highest first, each of so many bits.
std::vector<uint8_t> digits_of(uint32_t value, std::span<const uint8_t> bits) {
  std::vector<uint8_t> digits(bits.size());
  for (size_t i = bits.size(); i-- > 0;) {
    digits[i] = static_cast<uint8_t>(value & ((1u << bits[i]) - 1));
    value >>= bits[i];
  }
  return digits;
}

std::vector<DigitRanges> split(CodePointRange range, std::span<const uint8_t> bits) {
  std::vector<uint8_t> greatest;
  for (const uint8_t width : bits) greatest.push_back(static_cast<uint8_t>((1u << width) - 1));
  return split_digits(digits_of(range.first, bits), digits_of(range.last, bits), greatest);
}

CodePointRange overlap(CodePointRange a, CodePointRange b) {
  return {std::max(a.first, b.first), std::min(a.last, b.last)};
}

bool holds_none(CodePointRange range) { return range.first > range.last; }

}  // namespace

CodePointSet::CodePointSet(std::initializer_list<CodePointRange> ranges) {
  for (const CodePointRange range : ranges) add(range);
}

CodePointSet CodePointSet::all() { return {{0, kLastCodePoint}}; }

void CodePointSet::add(CodePointRange range) {
  for (const CodePointRange part : {overlap(range, {0, kSurrogates.first - 1}),
                                    overlap(range, {kSurrogates.last + 1, kLastCodePoint})}) {
    if (holds_none(part)) continue;
    CodePointRange joined = part;
    std::erase_if(ranges_, [&](const CodePointRange& known) {
      if (known.last + 1 < joined.first || joined.last + 1 < known.first) return false;
      joined = {std::min(known.first, joined.first), std::max(known.last, joined.last)};
      return true;
    });
    ranges_.insert(std::lower_bound(ranges_.begin(), ranges_.end(), joined), joined);
  }
}

void CodePointSet::add(const CodePointSet& other) {
  for (const CodePointRange range : other.ranges_) add(range);
}

CodePointSet CodePointSet::complement() const {
  CodePointSet result;
  uint32_t next = 0;
  for (const CodePointRange range : ranges_) {
    if (range.first > next) result.add(CodePointRange{next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLastCodePoint) result.add(CodePointRange{next, kLastCodePoint});
  return result;
}

CodePointSet CodePointSet::intersection(const CodePointSet& other) const {
  CodePointSet result;
  for (const CodePointRange a : ranges_) {
    for (const CodePointRange b : other.ranges_) {
      const CodePointRange both = overlap(a, b);
      if (!holds_none(both)) result.add(both);
    }
  }
  return result;
}

GrammarNode Characters::one_of(const CodePointSet& set, Spelling spelling) {
  if (builder_.full()) return builder_.never();
  const auto key = std::pair(spelling, set.ranges());
  if (const auto known = made_.find(key); known != made_.end()) return known->second;
  const GrammarNode node = make(set, spelling);
  made_.emplace(key, node);
  return node;
}

GrammarNode Characters::make(const CodePointSet& set, Spelling spelling) {
  std::vector<GrammarNode> nodes;
  ByteClass ascii;
  for (const CodePointRange range : set.ranges()) {
    for (uint32_t c = range.first; c <= std::min(range.last, 0x7Fu); ++c) ascii.set(c);
    add_utf8(overlap(range, {0x80, kLastCodePoint}), nodes);
  }
  if (spelling != Spelling::kUtf8) {
    ByteClass letters;  // that may follow a backslash
    const auto allow = [&](char character, char letter) {
      if (ascii[static_cast<uint8_t>(character)]) letters.set(static_cast<uint8_t>(letter));
    };
    for (const auto& [character, letter] : {std::pair{'"', '"'},
                                            {'\\', '\\'},
                                            {'\b', 'b'},
                                            {'\f', 'f'},
                                            {'\n', 'n'},
                                            {'\r', 'r'},
                                            {'\t', 't'}}) {
      allow(character, letter);
    }
    const bool is_loose = spelling == Spelling::kJsonLoose;
    if (is_loose) allow('/', '/');
    std::vector<GrammarNode> hex;
    for (const CodePointRange range : set.ranges()) {
      if (is_loose) {
        add_hex(range, hex);
      } else {
        add_hex(overlap(range, {0, 0x1F}), hex);
        add_hex(overlap(range, {0x7F, kLastCodePoint}), hex);
      }
    }
    // One backslash for all escapes: what waits for a byte should be few frames.
    std::vector<GrammarNode> escapes;
    if (letters.any()) escapes.push_back(builder_.bytes(letters));
    if (!hex.empty()) {
      escapes.push_back(builder_.sequence({builder_.literal("u"), builder_.alternatives(hex)}));
    }
    if (!escapes.empty()) {
      nodes.push_back(builder_.sequence({builder_.literal("\\"), builder_.alternatives(escapes)}));
    }
    for (size_t c = 0; c < 0x20; ++c) ascii.reset(c);
    ascii.reset('"');
    ascii.reset('\\');
  }
  if (ascii.any()) nodes.push_back(builder_.bytes(ascii));
  return builder_.alternatives(nodes);
}

void Characters::add_utf8(CodePointRange range, std::vector<GrammarNode>& nodes) {
  struct Form {
    CodePointRange range;
    std::vector<uint8_t> bits;
    uint8_t lead;
  };
  static const std::array<Form, 3> kForms = {Form{{0x80, 0x7FF}, {5, 6}, 0xC0},
                                             Form{{0x800, 0xFFFF}, {4, 6, 6}, 0xE0},
                                             Form{{0x10000, kLastCodePoint}, {3, 6, 6, 6}, 0xF0}};
  for (const Form& form : kForms) {
    const CodePointRange part = overlap(range, form.range);
    if (holds_none(part)) continue;
    for (const DigitRanges& pattern : split(part, form.bits)) {
      std::vector<GrammarNode> bytes;
      for (const DigitRange digit : pattern) {
        const int offset = bytes.empty() ? form.lead : 0x80;
        bytes.push_back(builder_.byte_range(static_cast<uint8_t>(digit.first + offset),
                                            static_cast<uint8_t>(digit.last + offset)));
      }
      nodes.push_back(builder_.sequence(bytes));
    }
  }
}

// What follows the \u of escapes: four digits, above U+FFFF a pair of surrogates, D8aa\uDCbb, which
// holds 20 bits less 0x10000.
void Characters::add_hex(CodePointRange range, std::vector<GrammarNode>& nodes) {
  const auto hex = [&](DigitRange digit, int offset) {
    ByteClass members;
    for (int value = digit.first + offset; value <= digit.last + offset; ++value) {
      members.set(static_cast<uint8_t>("0123456789abcdef"[value]));
      members.set(static_cast<uint8_t>("0123456789ABCDEF"[value]));
    }
    return builder_.bytes(members);
  };
  if (const CodePointRange part = overlap(range, {0, 0xFFFF}); !holds_none(part)) {
    static constexpr std::array<uint8_t, 4> kBits = {4, 4, 4, 4};
    for (const DigitRanges& p : split(part, kBits)) {
      nodes.push_back(builder_.sequence({hex(p[0], 0), hex(p[1], 0), hex(p[2], 0), hex(p[3], 0)}));
    }
  }
  if (const CodePointRange part = overlap(range, {0x10000, kLastCodePoint}); !holds_none(part)) {
    static constexpr std::array<uint8_t, 6> kBits = {2, 4, 4, 2, 4, 4};
    const GrammarNode d = hex({0xD, 0xD}, 0);
    for (const DigitRanges& p : split({part.first - 0x10000, part.last - 0x10000}, kBits)) {
      nodes.push_back(
          builder_.sequence({d, hex(p[0], 8), hex(p[1], 0), hex(p[2], 0), builder_.literal("\\u"),
                             d, hex(p[3], 12), hex(p[4], 0), hex(p[5], 0)}));
    }
  }
}

}  // namespace hlwq
