#include "text/jinja/runtime.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "text/jinja/operators.h"

namespace hlwq::jinja {
namespace {

constexpr size_t kTextBytes = 96;        // of a text besides its bytes
constexpr size_t kSequenceBytes = 112;   // of a sequence besides its items
constexpr size_t kEntryBytes = 64;       // of a dict's entry besides its values
constexpr size_t kNamespaceBytes = 128;  // of a namespace

}  // namespace

Runtime::~Runtime() {
  for (const auto& space : namespaces_) space->attributes.clear();
}

tl::unexpected<Error> Runtime::error(std::string_view what) const {
  return fail(ErrorCode::kInvalidArgument, fmt::format("{}: line {}: {}", where_, line_, what));
}

tl::unexpected<Error> Runtime::unsupported(std::string_view what) const {
  return fail(ErrorCode::kUnsupported, fmt::format("{}: line {}: {}", where_, line_, what));
}

tl::unexpected<Error> Runtime::complaint(std::string_view message) const {
  return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", where_, message));
}

Status Runtime::spend(uint64_t steps) {
  if (steps <= limits_.steps - steps_) {
    steps_ += steps;
    return {};
  }
  return error(fmt::format("the template takes more than {} steps", limits_.steps));
}

Status Runtime::expect_text(unsigned __int128 bytes) const {
  if (bytes <= limits_.text_bytes) return {};
  return error(fmt::format("a text of more than {} bytes", limits_.text_bytes));
}

Result<Charge> Runtime::hold(size_t bytes) {
  if (bytes <= limits_.live_bytes - std::min(memory_.live_bytes, limits_.live_bytes)) {
    return Charge(memory_, bytes);
  }
  return error(fmt::format("the template's values take more than {} bytes", limits_.live_bytes));
}

Result<Value> Runtime::text(MarkedText marked) {
  HLWQ_TRY(expect_text(marked.size()));
  HLWQ_TRY(touch(marked.size()));
  HLWQ_TRY_ASSIGN(Charge charge, hold(kTextBytes + marked.held_bytes()));
  return Value(std::make_shared<const Text>(Text{std::move(marked), std::move(charge)}));
}

Result<Value> Runtime::sequence(std::vector<Value> items, Sequence::Flavor flavor) {
  HLWQ_TRY(spend(1 + items.size() / 4));
  HLWQ_TRY_ASSIGN(Charge charge, hold(kSequenceBytes + items.size() * sizeof(Value)));
  int depth = 0;
  bool has_data = false;
  for (const Value& item : items) {
    depth = std::max(depth, item.depth());
    has_data = has_data || item.has_data();
  }
  if (depth >= limits_.container_depth) {
    return error(fmt::format("lists nested deeper than {} levels", limits_.container_depth));
  }
  return Value(std::make_shared<const Sequence>(Sequence{.flavor = flavor,
                                                         .items = std::move(items),
                                                         .charge = std::move(charge),
                                                         .depth = depth + 1,
                                                         .has_data = has_data}));
}

Result<Value> Runtime::dict(std::vector<Dict::Entry> entries) {
  HLWQ_TRY(spend(1 + entries.size()));
  HLWQ_TRY_ASSIGN(Charge charge,
                  hold(kSequenceBytes + entries.size() * (sizeof(Dict::Entry) + kEntryBytes)));
  auto made =
      std::make_shared<Dict>(Dict{.entries = {}, .by_text = {}, .charge = std::move(charge)});
  int depth = 0;
  for (Dict::Entry& entry : entries) {
    HLWQ_TRY_ASSIGN(const std::optional<size_t> known, find_key(*this, *made, entry.first));
    depth = std::max({depth, entry.first.depth(), entry.second.depth()});
    made->has_data = made->has_data || entry.first.has_data() || entry.second.has_data();
    if (known) {
      made->entries[*known].second = std::move(entry.second);
      continue;
    }
    made->entries.push_back(std::move(entry));
    const Value& key = made->entries.back().first;
    if (key.is_text()) made->by_text.emplace(key.text().bytes(), made->entries.size() - 1);
  }
  if (depth >= limits_.container_depth) {
    return error(fmt::format("dicts nested deeper than {} levels", limits_.container_depth));
  }
  made->depth = depth + 1;
  return Value(DictPtr(std::move(made)));
}

Result<std::shared_ptr<Namespace>> Runtime::make_namespace() {
  HLWQ_TRY_ASSIGN(Charge charge, hold(kNamespaceBytes));
  auto space = std::make_shared<Namespace>(std::move(charge));
  namespaces_.push_back(space);
  return space;
}

Result<Value> Runtime::integer(__int128 value) const {
  if (value >= std::numeric_limits<int64_t>::min() && value <= std::numeric_limits<int64_t>::max())
    return Value(static_cast<int64_t>(value));
  if (value > 0 && value <= std::numeric_limits<uint64_t>::max())
    return Value(static_cast<uint64_t>(value));
  return error("an integer of more than 64 bits");
}

}  // namespace hlwq::jinja
