#pragma once
// Sets of code points, and their characters as grammar nodes: in UTF-8 or as JSON strings spell
// them.

#include <cstdint>
#include <initializer_list>
#include <map>
#include <utility>
#include <vector>

#include "text/grammar/grammar.h"

namespace hlwq {

struct CodePointRange {
  uint32_t first = 0;
  uint32_t last = 0;
  auto operator<=>(const CodePointRange&) const = default;
};

// Unicode scalar values: surrogates are in no set. Ranges are sorted and apart.
class CodePointSet {
 public:
  CodePointSet() = default;
  CodePointSet(std::initializer_list<CodePointRange> ranges);
  static CodePointSet all();

  void add(CodePointRange range);
  void add(const CodePointSet& other);
  [[nodiscard]] CodePointSet complement() const;
  [[nodiscard]] CodePointSet intersection(const CodePointSet& other) const;
  [[nodiscard]] const std::vector<CodePointRange>& ranges() const { return ranges_; }
  [[nodiscard]] bool is_empty() const { return ranges_.empty(); }

 private:
  std::vector<CodePointRange> ranges_;
};

// How the characters of a text are written.
enum class Spelling {
  kUtf8,       // as they are
  kJson,       // inside a JSON string: printable ASCII as it is, but \" and \\; control
               // characters as \n or \u000a; others as they are or as \u escapes
  kJsonLoose,  // the same, and \/ and \u escapes for any character
};

// Makes one node for each set of characters; sets that come again share it. Borrows the builder.
class Characters {
 public:
  explicit Characters(GrammarBuilder& builder) : builder_(builder) {}
  GrammarNode one_of(const CodePointSet& set, Spelling spelling);

 private:
  GrammarNode make(const CodePointSet& set, Spelling spelling);
  void add_utf8(CodePointRange range, std::vector<GrammarNode>& nodes);
  void add_hex(CodePointRange range, std::vector<GrammarNode>& nodes);

  GrammarBuilder& builder_;
  std::map<std::pair<Spelling, std::vector<CodePointRange>>, GrammarNode> made_;
};

}  // namespace hlwq
