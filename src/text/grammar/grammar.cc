#include "text/grammar/grammar.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "base/check.h"
#include "text/grammar/grammar_tables.h"

namespace hlwq {
namespace {

using Kind = GrammarTables::Kind;
using Node = GrammarTables::Node;

// Nested prefixes that one_of shares, and levels that non_empty follows.
constexpr int kMostSharedPrefixes = 64;
constexpr int kMostEmptyLevels = 200;
constexpr uint32_t kUndefined = UINT32_MAX;
constexpr size_t kMostTerminatorBytes = 30;

uint32_t index_of(GrammarNode node) { return static_cast<uint32_t>(node); }

}  // namespace

struct GrammarBuilder::State {
  GrammarLimits limits;
  GrammarTables tables;
  std::vector<bool> can_be_empty;  // of each node; rules count as false until `build`
  std::unordered_map<ByteClass, GrammarNode> class_nodes;
  std::unordered_map<uint32_t, GrammarNode> non_empty_nodes;
  std::optional<Error> exceeded;
  size_t bytes = 0;

  explicit State(const GrammarLimits& builder_limits) : limits(builder_limits) { start(); }

  void start() {
    tables = {};
    tables.nesting = limits.nesting;
    can_be_empty.clear();
    class_nodes.clear();
    non_empty_nodes.clear();
    // Nodes 0 and 1, which no limit stops.
    tables.nodes = {Node{.kind = Kind::kAlternatives}, Node{.kind = Kind::kSequence}};
    can_be_empty = {false, true};
    bytes = 0;
  }

  void exceed(std::string message) {
    if (!exceeded) exceeded = Error{ErrorCode::kUnsupported, std::move(message)};
  }

  bool take_bytes(size_t more) {
    if (more > limits.bytes - bytes) {
      exceed(fmt::format("grammar: more than {} bytes of literals and lists", limits.bytes));
    }
    if (exceeded) return false;
    bytes += more;
    return true;
  }

  GrammarNode add(const Node& node, bool empty) {
    if (tables.nodes.size() >= limits.nodes) {
      exceed(fmt::format("grammar: more than {} nodes", limits.nodes));
    }
    if (exceeded) return GrammarNode{0};
    tables.nodes.push_back(node);
    can_be_empty.push_back(empty);
    return GrammarNode{static_cast<uint32_t>(tables.nodes.size() - 1)};
  }
};

GrammarBuilder::GrammarBuilder(const GrammarLimits& limits)
    : state_(std::make_unique<State>(limits)) {}
GrammarBuilder::GrammarBuilder(GrammarBuilder&&) noexcept = default;
GrammarBuilder& GrammarBuilder::operator=(GrammarBuilder&&) noexcept = default;
GrammarBuilder::~GrammarBuilder() = default;

bool GrammarBuilder::full() const { return state_->exceeded.has_value(); }
GrammarNode GrammarBuilder::never() { return GrammarNode{0}; }
GrammarNode GrammarBuilder::empty() { return GrammarNode{1}; }

GrammarNode GrammarBuilder::literal(std::string_view bytes) {
  if (bytes.empty()) return empty();
  if (!state_->take_bytes(bytes.size())) return never();
  GrammarTables& tables = state_->tables;
  const auto first = static_cast<uint32_t>(tables.bytes.size());
  tables.bytes += bytes;
  return state_->add(
      {.kind = Kind::kLiteral, .first = first, .count = static_cast<uint32_t>(bytes.size())},
      false);
}

GrammarNode GrammarBuilder::bytes(const ByteClass& members) {
  if (members.none()) return never();
  if (const auto known = state_->class_nodes.find(members); known != state_->class_nodes.end()) {
    return known->second;
  }
  if (!state_->take_bytes(sizeof(ByteClass))) return never();
  GrammarTables& tables = state_->tables;
  tables.classes.push_back(members);
  const GrammarNode node = state_->add(
      {.kind = Kind::kBytes, .first = static_cast<uint32_t>(tables.classes.size() - 1)}, false);
  if (!full()) state_->class_nodes.emplace(members, node);
  return node;
}

GrammarNode GrammarBuilder::byte_range(uint8_t first, uint8_t last) {
  ByteClass members;
  for (int byte = first; byte <= last; ++byte) members.set(static_cast<size_t>(byte));
  return bytes(members);
}

GrammarNode GrammarBuilder::add_list(std::span<const GrammarNode> nodes, bool alternatives,
                                     bool nests) {
  if (!state_->take_bytes(nodes.size_bytes())) return never();
  GrammarTables& tables = state_->tables;
  const auto first = static_cast<uint32_t>(tables.children.size());
  const auto is_empty = [&](GrammarNode node) { return state_->can_be_empty[index_of(node)]; };
  for (const GrammarNode node : nodes) tables.children.push_back(index_of(node));
  const bool can_be_empty = alternatives ? std::any_of(nodes.begin(), nodes.end(), is_empty)
                                         : std::all_of(nodes.begin(), nodes.end(), is_empty);
  return state_->add({.kind = alternatives ? Kind::kAlternatives : Kind::kSequence,
                      .nests = nests,
                      .first = first,
                      .count = static_cast<uint32_t>(nodes.size())},
                     can_be_empty);
}

GrammarNode GrammarBuilder::sequence(std::span<const GrammarNode> nodes) {
  if (nodes.empty()) return empty();
  return nodes.size() == 1 ? nodes[0] : add_list(nodes, false, false);
}

GrammarNode GrammarBuilder::sequence(std::initializer_list<GrammarNode> nodes) {
  return sequence(std::span(nodes.begin(), nodes.size()));
}

GrammarNode GrammarBuilder::nested(std::initializer_list<GrammarNode> nodes) {
  return add_list(std::span(nodes.begin(), nodes.size()), false, true);
}

GrammarNode GrammarBuilder::alternatives(std::span<const GrammarNode> nodes) {
  if (nodes.empty()) return never();
  return nodes.size() == 1 ? nodes[0] : add_list(nodes, true, false);
}

GrammarNode GrammarBuilder::alternatives(std::initializer_list<GrammarNode> nodes) {
  return alternatives(std::span(nodes.begin(), nodes.size()));
}

GrammarNode GrammarBuilder::one_of(std::vector<std::string> literals) {
  std::sort(literals.begin(), literals.end());
  literals.erase(std::unique(literals.begin(), literals.end()), literals.end());
  return one_of_sorted(literals, 0, 0);
}

// `literals` share their first `skip` bytes, which are matched already.
GrammarNode GrammarBuilder::one_of_sorted(std::span<const std::string> literals, size_t skip,
                                          int depth) {
  std::vector<GrammarNode> nodes;
  for (size_t begin = 0; begin < literals.size() && !full();) {
    const std::string& first = literals[begin];
    size_t end = begin + 1;
    if (first.size() > skip && depth < kMostSharedPrefixes) {
      while (end < literals.size() && literals[end][skip] == first[skip]) ++end;
    }
    if (end == begin + 1) {
      nodes.push_back(literal(std::string_view(first).substr(skip)));
    } else {
      const std::string& last = literals[end - 1];
      // Sorted, so what the first and the last share, all share.
      size_t shared = skip;
      while (shared < first.size() && shared < last.size() && first[shared] == last[shared]) {
        ++shared;
      }
      nodes.push_back(
          sequence({literal(std::string_view(first).substr(skip, shared - skip)),
                    one_of_sorted(literals.subspan(begin, end - begin), shared, depth + 1)}));
    }
    begin = end;
  }
  return alternatives(nodes);
}

GrammarNode GrammarBuilder::repeat(GrammarNode node, uint32_t least, uint32_t most) {
  if (least > kMostRepeats || (most != kUnlimited && most > kMostRepeats)) {
    state_->exceed(fmt::format("grammar: a repeat of {} to {} times, bounds are at most {}", least,
                               most, kMostRepeats));
    return never();
  }
  if (least > most) return never();
  if (most == 0) return empty();
  if (state_->can_be_empty[index_of(node)]) {
    // Empty turns make up any number that is missing, and nothing else need count them.
    least = 0;
    if (most == 1) return node;
    if (most != kUnlimited) node = non_empty(node, 0);
  }
  if (least == 1 && most == 1) return node;
  return state_->add({.kind = Kind::kRepeat, .first = index_of(node), .least = least, .most = most},
                     least == 0);
}

GrammarNode GrammarBuilder::optional(GrammarNode node) { return repeat(node, 0, 1); }

// The texts of `node` without the empty one.
GrammarNode GrammarBuilder::non_empty(GrammarNode node, int depth) {
  if (full() || !state_->can_be_empty[index_of(node)]) return node;
  if (depth > kMostEmptyLevels) {
    state_->exceed(fmt::format("grammar: more than {} levels that can be empty", kMostEmptyLevels));
    return never();
  }
  if (const auto known = state_->non_empty_nodes.find(index_of(node));
      known != state_->non_empty_nodes.end()) {
    return known->second;
  }
  const Node original = state_->tables.nodes[index_of(node)];  // by value: nodes are added below
  const auto child = [&](uint32_t i) {
    return GrammarNode{state_->tables.children[original.first + i]};
  };
  GrammarNode result = never();
  switch (original.kind) {
    case Kind::kAlternatives: {
      std::vector<GrammarNode> nodes;
      for (uint32_t i = 0; i < original.count && !full(); ++i) {
        nodes.push_back(non_empty(child(i), depth + 1));
      }
      result = alternatives(nodes);
      break;
    }
    case Kind::kSequence: {
      // The first part with text may be any of them; from the last part to the first.
      GrammarNode tail = empty();
      for (uint32_t i = original.count; i-- > 0 && !full();) {
        result = alternatives({sequence({non_empty(child(i), depth + 1), tail}), result});
        tail = sequence({child(i), tail});
      }
      break;
    }
    case Kind::kRepeat:
      result = repeat(non_empty(GrammarNode{original.first}, depth + 1), 1, original.most);
      break;
    case Kind::kLiteral:
    case Kind::kBytes:
    case Kind::kTextUntil:
    case Kind::kRule:
      break;  // never said to be empty
  }
  state_->non_empty_nodes.emplace(index_of(node), result);
  return result;
}

GrammarNode GrammarBuilder::text_until(std::string_view terminator, uint32_t least, uint32_t most) {
  HLWQ_CHECK(!terminator.empty() && terminator.size() <= kMostTerminatorBytes);
  if (least > kMostRepeats || (most != kUnlimited && most > kMostRepeats)) {
    state_->exceed(fmt::format("grammar: a text of {} to {} characters, bounds are at most {}",
                               least, most, kMostRepeats));
    return never();
  }
  if (least > most) return never();
  if (!state_->take_bytes(sizeof(GrammarTables::Terminator))) return never();
  GrammarTables::Terminator entry{.text = std::string(terminator), .fallback = {}};
  for (size_t i = 1, matched = 0; i < terminator.size(); ++i) {
    while (matched > 0 && terminator[i] != terminator[matched]) matched = entry.fallback[matched];
    if (terminator[i] == terminator[matched]) ++matched;
    entry.fallback[i + 1] = static_cast<uint8_t>(matched);
  }
  state_->tables.terminators.push_back(std::move(entry));
  return state_->add({.kind = Kind::kTextUntil,
                      .first = static_cast<uint32_t>(state_->tables.terminators.size() - 1),
                      .least = least,
                      .most = most},
                     false);
}

GrammarNode GrammarBuilder::rule() {
  return state_->add({.kind = Kind::kRule, .first = kUndefined}, false);
}

void GrammarBuilder::define(GrammarNode rule, GrammarNode body) {
  if (full()) return;
  Node& node = state_->tables.nodes[index_of(rule)];
  HLWQ_CHECK(node.kind == Kind::kRule && node.first == kUndefined);
  node.first = index_of(body);
}

Result<Grammar> GrammarBuilder::build(GrammarNode root) {
  if (full()) return tl::unexpected<Error>(*state_->exceeded);
  auto tables = std::make_shared<GrammarTables>(std::move(state_->tables));
  state_->start();
  for (size_t i = 0; i < tables->nodes.size(); ++i) {
    if (tables->nodes[i].kind == Kind::kRule && tables->nodes[i].first == kUndefined) {
      return fail(ErrorCode::kInternal, fmt::format("grammar: rule {} is not defined", i));
    }
  }
  tables->root = index_of(root);
  HLWQ_TRY(finish_tables(*tables));
  return Grammar(std::move(tables));
}

}  // namespace hlwq
