#pragma once
// Byte-level grammars for constrained decoding, and the builder that makes them. A grammar is an
// immutable graph of nodes; repeats keep their bounds as numbers, so that {0,1000000} is one node.

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace hlwq {

using ByteClass = std::bitset<256>;
enum class GrammarNode : uint32_t {};                     // a node of the builder that returned it
inline constexpr uint32_t kUnlimited = UINT32_MAX;        // as the most of a repeat
inline constexpr uint32_t kMostRepeats = (1u << 23) - 1;  // as a finite bound

struct GrammarLimits {
  uint32_t nodes = 1u << 18;
  size_t bytes = 8u << 20;  // of literals, children and byte classes together
  uint16_t nesting = 64;    // nested sequences open at a time (GrammarBuilder::nested)
};

struct GrammarTables;

// Immutable and cheap to copy; safe from several threads.
class Grammar {
 public:
  explicit Grammar(std::shared_ptr<const GrammarTables> tables) : tables_(std::move(tables)) {}
  [[nodiscard]] const std::shared_ptr<const GrammarTables>& tables() const { return tables_; }

 private:
  std::shared_ptr<const GrammarTables> tables_;
};

// Combinators. Exceeding a limit is remembered and reported by `build`; until then calls stay
// cheap and return a node that matches nothing.
class GrammarBuilder {
 public:
  explicit GrammarBuilder(const GrammarLimits& limits = {});
  GrammarBuilder(GrammarBuilder&&) noexcept;
  GrammarBuilder& operator=(GrammarBuilder&&) noexcept;
  ~GrammarBuilder();

  GrammarNode empty();  // the empty text
  GrammarNode never();  // no text at all
  GrammarNode literal(std::string_view bytes);
  GrammarNode bytes(const ByteClass& members);
  GrammarNode byte_range(uint8_t first, uint8_t last);
  GrammarNode sequence(std::span<const GrammarNode> nodes);
  GrammarNode sequence(std::initializer_list<GrammarNode> nodes);
  // A sequence that counts as one level of nesting from its first node until its last one begins.
  // Texts that would need more levels than GrammarLimits::nesting are not of the language.
  GrammarNode nested(std::initializer_list<GrammarNode> nodes);
  GrammarNode alternatives(std::span<const GrammarNode> nodes);
  GrammarNode alternatives(std::initializer_list<GrammarNode> nodes);
  // One of `literals`, with common beginnings matched once.
  GrammarNode one_of(std::vector<std::string> literals);
  // `least` to `most` times; finite bounds are at most kMostRepeats (beyond: reported by `build`).
  GrammarNode repeat(GrammarNode node, uint32_t least, uint32_t most = kUnlimited);
  GrammarNode optional(GrammarNode node);
  // Well-formed UTF-8 of `least` to `most` code points that does not contain `terminator`, then
  // the terminator. No control characters but tab, line feed and carriage return. `terminator`:
  // ASCII, 1 to 30 bytes.
  GrammarNode text_until(std::string_view terminator, uint32_t least = 0,
                         uint32_t most = kUnlimited);

  // A rule may be used before it is defined, also by itself.
  GrammarNode rule();
  void define(GrammarNode rule, GrammarNode body);

  // A limit was exceeded: `build` will fail, whatever comes.
  [[nodiscard]] bool full() const;

  // What the builder holds becomes the grammar of the texts of `root`; the builder is empty then.
  // Errors: kUnsupported when a limit was exceeded, a rule can begin with itself and go on, or a
  // bounded repeat holds a rule that can be empty; kInvalidArgument when `root` matches no text;
  // kInternal for a rule without a definition.
  [[nodiscard]] Result<Grammar> build(GrammarNode root);

 private:
  struct State;
  GrammarNode add_list(std::span<const GrammarNode> nodes, bool alternatives, bool nests);
  GrammarNode one_of_sorted(std::span<const std::string> literals, size_t skip, int depth);
  GrammarNode non_empty(GrammarNode node, int depth);
  std::unique_ptr<State> state_;
};

}  // namespace hlwq
