#include "text/grammar/grammar_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

namespace hlwq {
namespace {

using Kind = GrammarTables::Kind;
using Node = GrammarTables::Node;

std::span<const uint32_t> children_of(const GrammarTables& tables, const Node& node) {
  switch (node.kind) {
    case Kind::kSequence:
    case Kind::kAlternatives:
      return std::span(tables.children).subspan(node.first, node.count);
    case Kind::kRepeat:
    case Kind::kRule:
      return std::span(&node.first, 1);
    case Kind::kLiteral:
    case Kind::kBytes:
    case Kind::kTextUntil:
      return {};
  }
  return {};
}

// For each node the nodes that hold it, once for every place that does.
struct Holders {
  std::vector<uint32_t> begin;  // nodes + 1
  std::vector<uint32_t> nodes;
  [[nodiscard]] std::span<const uint32_t> of(uint32_t node) const {
    return std::span(nodes).subspan(begin[node], begin[node + 1] - begin[node]);
  }
};

Holders holders_of(const GrammarTables& tables) {
  Holders holders;
  holders.begin.assign(tables.nodes.size() + 1, 0);
  for (const Node& node : tables.nodes) {
    for (const uint32_t child : children_of(tables, node)) ++holders.begin[child + 1];
  }
  for (size_t i = 1; i < holders.begin.size(); ++i) holders.begin[i] += holders.begin[i - 1];
  holders.nodes.resize(holders.begin.back());
  std::vector<uint32_t> next(holders.begin.begin(), holders.begin.end() - 1);
  for (uint32_t i = 0; i < tables.nodes.size(); ++i) {
    for (const uint32_t child : children_of(tables, tables.nodes[i])) {
      holders.nodes[next[child]++] = i;
    }
  }
  return holders;
}

// Settles nodes in the order of their need, least first (Knuth 1977, "A generalization of
// Dijkstra's algorithm"): when the last child of a sequence settles, it is the largest.
void set_needs(GrammarTables& tables, const Holders& holders) {
  std::vector<uint32_t> waits(tables.nodes.size(), 0);
  std::vector<std::vector<uint32_t>> settled(tables.nesting + size_t{1});
  const auto settle = [&](uint32_t node, uint32_t need) {
    if (tables.nodes[node].need != kNeverMatches || need > tables.nesting) return;
    tables.nodes[node].need = static_cast<uint16_t>(need);
    settled[need].push_back(node);
  };
  for (Node& node : tables.nodes) node.need = kNeverMatches;
  for (uint32_t i = 0; i < tables.nodes.size(); ++i) {
    const Node& node = tables.nodes[i];
    waits[i] = node.count;
    if (node.kind == Kind::kLiteral || node.kind == Kind::kBytes || node.kind == Kind::kTextUntil ||
        (node.kind == Kind::kRepeat && node.least == 0) ||
        (node.kind == Kind::kSequence && node.count == 0)) {
      settle(i, 0);
    }
  }
  for (uint32_t need = 0; need < settled.size(); ++need) {
    // settle() may append to this very list.
    for (size_t at = 0; at < settled[need].size(); ++at) {
      for (const uint32_t holder : holders.of(settled[need][at])) {
        const Node& node = tables.nodes[holder];
        if (node.kind == Kind::kSequence && --waits[holder] > 0) continue;
        settle(holder, need + (node.nests ? 1 : 0));
      }
    }
  }
}

std::vector<bool> which_can_be_empty(const GrammarTables& tables, const Holders& holders) {
  std::vector<bool> can_be_empty(tables.nodes.size(), false);
  std::vector<uint32_t> waits(tables.nodes.size(), 0);
  std::vector<uint32_t> found;
  const auto add = [&](uint32_t node) {
    if (can_be_empty[node]) return;
    can_be_empty[node] = true;
    found.push_back(node);
  };
  for (uint32_t i = 0; i < tables.nodes.size(); ++i) {
    const Node& node = tables.nodes[i];
    waits[i] = node.count;
    if ((node.kind == Kind::kRepeat && node.least == 0) ||
        (node.kind == Kind::kSequence && node.count == 0)) {
      add(i);
    }
  }
  while (!found.empty()) {
    const uint32_t node = found.back();
    found.pop_back();
    for (const uint32_t holder : holders.of(node)) {
      if (tables.nodes[holder].kind == Kind::kSequence && --waits[holder] > 0) continue;
      add(holder);
    }
  }
  return can_be_empty;
}

// Whether a node can come to stand at its own beginning with more to follow it, which would let
// the matcher's stacks grow without reading a byte. Strongly connected components of "begins with"
// (Tarjan 1972, with a stack of its own), then any such step inside one component.
class LeftRecursion {
 public:
  LeftRecursion(const GrammarTables& tables, const std::vector<bool>& can_be_empty)
      : tables_(tables),
        can_be_empty_(can_be_empty),
        order_(tables.nodes.size(), 0),
        low_(tables.nodes.size(), 0),
        component_(tables.nodes.size(), 0) {}

  bool found() {
    for (uint32_t i = 0; i < tables_.nodes.size(); ++i) {
      if (order_[i] == 0) visit(i);
    }
    for (uint32_t i = 0; i < tables_.nodes.size(); ++i) {
      const Node& node = tables_.nodes[i];
      const std::span<const uint32_t> beginnings = beginnings_of(node);
      for (size_t at = 0; at < beginnings.size(); ++at) {
        const bool more_follows = (node.kind == Kind::kRepeat && node.most > 1) ||
                                  (node.kind == Kind::kSequence && at + 1 < node.count);
        if (more_follows && component_[i] == component_[beginnings[at]]) return true;
      }
    }
    return false;
  }

 private:
  struct Visit {
    uint32_t node;
    uint32_t next = 0;
  };

  [[nodiscard]] std::span<const uint32_t> beginnings_of(const Node& node) const {
    const std::span<const uint32_t> children = children_of(tables_, node);
    if (node.kind != Kind::kSequence) return children;
    size_t count = 0;
    while (count < children.size() && can_be_empty_[children[count]]) ++count;
    return children.first(std::min(count + 1, children.size()));
  }

  void visit(uint32_t start) {
    std::vector<Visit> path{{start}};
    open(start);
    while (!path.empty()) {
      Visit& top = path.back();
      const uint32_t node = top.node;
      const std::span<const uint32_t> beginnings = beginnings_of(tables_.nodes[node]);
      if (top.next < beginnings.size()) {
        const uint32_t child = beginnings[top.next++];
        if (order_[child] == 0) {
          open(child);
          path.push_back({child});
        } else if (component_[child] == 0) {
          low_[node] = std::min(low_[node], order_[child]);
        }
        continue;
      }
      if (low_[node] == order_[node]) close(node);
      path.pop_back();
      if (!path.empty()) low_[path.back().node] = std::min(low_[path.back().node], low_[node]);
    }
  }

  void open(uint32_t node) {
    order_[node] = low_[node] = ++opened_;
    open_.push_back(node);
  }

  void close(uint32_t root) {
    ++components_;
    uint32_t node = root;
    do {
      node = open_.back();
      open_.pop_back();
      component_[node] = components_;
    } while (node != root);
  }

  const GrammarTables& tables_;
  const std::vector<bool>& can_be_empty_;
  std::vector<uint32_t> order_, low_, component_;  // 0: not yet
  std::vector<uint32_t> open_;
  uint32_t opened_ = 0;
  uint32_t components_ = 0;
};

}  // namespace

Status finish_tables(GrammarTables& tables) {
  const Holders holders = holders_of(tables);
  const std::vector<bool> can_be_empty = which_can_be_empty(tables, holders);
  for (size_t i = 0; i < tables.nodes.size(); ++i) {
    const Node& node = tables.nodes[i];
    if (node.kind == Kind::kRepeat && node.most > 1 && node.most != kUnlimited &&
        can_be_empty[node.first]) {
      return fail(
          ErrorCode::kUnsupported,
          fmt::format("grammar: node {} repeats at most {} times what can be empty", i, node.most));
    }
  }
  if (LeftRecursion(tables, can_be_empty).found()) {
    return fail(ErrorCode::kUnsupported, "grammar: a rule begins with itself");
  }
  set_needs(tables, holders);
  if (tables.nodes[tables.root].need == kNeverMatches) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("grammar: no text matches within {} levels of nesting", tables.nesting));
  }
  return {};
}

}  // namespace hlwq
