#pragma once
// How a built grammar lies in memory; for the builder and the matcher.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "text/grammar/grammar.h"

namespace hlwq {

// `need` of a node that matches no text within the limit on nesting.
inline constexpr uint16_t kNeverMatches = UINT16_MAX;

struct GrammarTables {
  enum class Kind : uint8_t {
    kLiteral,       // `count` bytes of `bytes` from `first`
    kBytes,         // one byte of classes[first]
    kTextUntil,     // terminators[first], `least` to `most` code points before it
    kSequence,      // `count` nodes, children[first ...]
    kAlternatives,  // the same
    kRepeat,        // node `first`, `least` to `most` times
    kRule,          // node `first`
  };
  struct Node {
    Kind kind = Kind::kLiteral;
    bool nests = false;
    uint16_t need = 0;  // levels of nesting that its least nested text takes
    uint32_t first = 0;
    uint32_t count = 0;
    uint32_t least = 0;
    uint32_t most = 0;
  };
  struct Terminator {
    std::string text;
    // Longest proper prefix of the terminator that ends its first i bytes (Knuth, Morris, Pratt).
    std::array<uint8_t, 32> fallback{};
  };

  std::vector<Node> nodes;
  std::vector<uint32_t> children;
  std::string bytes;
  std::vector<ByteClass> classes;
  std::vector<Terminator> terminators;
  uint32_t root = 0;
  uint16_t nesting = 0;
};

// Sets every node's `need` and refuses what the matcher could not run; see GrammarBuilder::build.
[[nodiscard]] Status finish_tables(GrammarTables& tables);

}  // namespace hlwq
