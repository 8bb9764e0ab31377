#include <fmt/format.h>

#include <algorithm>

#include "text/jinja/attributes.h"
#include "text/jinja/builtin_tables.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/text_operations.h"

namespace hlwq::jinja {
namespace {

Result<Value> filter_length(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "length", arguments, {}));
  HLWQ_TRY_ASSIGN(const int64_t count, length(runtime, self));
  return Value(count);
}

Result<Value> filter_default(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound,
                  Bound::bind(runtime, "default", arguments, {"default_value", "boolean"}));
  const bool is_missing = self.is_undefined() || (bound.truth(1, false) && !truth(self));
  if (!is_missing) return self;
  return bound[0] == nullptr ? Value::literal("") : *bound[0];
}

Result<Value> filter_items(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "items", arguments, {}));
  if (self.is_undefined()) return runtime.sequence({}, Sequence::Flavor::kIterator);
  if (self.dict() == nullptr) return runtime.error("Can only get item pairs from a mapping.");
  HLWQ_TRY_ASSIGN(const Value method, get_attribute(runtime, self, "items"));
  HLWQ_TRY_ASSIGN(const Value items, method.object_as<Function>()->native(runtime, self, {}));
  return runtime.sequence(items.sequence()->items, Sequence::Flavor::kIterator);
}

Result<Value> filter_list(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "list", arguments, {}));
  HLWQ_TRY_ASSIGN(const SequencePtr items, iterate(runtime, self));
  return runtime.sequence(items->items);
}

Result<Value> filter_first(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "first", arguments, {}));
  if (const Sequence* sequence = self.sequence(); sequence != nullptr && sequence->is_iterator()) {
    if (sequence->gone < sequence->items.size()) return sequence->items[sequence->gone++];
  } else {
    HLWQ_TRY_ASSIGN(const SequencePtr items, iterate(runtime, self));
    if (!items->items.empty()) return items->items.front();
  }
  return Value::undefined("No first item, sequence was empty.");
}

Result<Value> filter_last(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "last", arguments, {}));
  if (const Sequence* sequence = self.sequence(); sequence != nullptr && sequence->is_iterator())
    return runtime.error("'generator' object is not reversible");
  HLWQ_TRY_ASSIGN(const SequencePtr items, iterate(runtime, self));
  if (!items->items.empty()) return items->items.back();
  return Value::undefined("No last item, sequence was empty.");
}

Result<Value> filter_reverse(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "reverse", arguments, {}));
  if (self.is_text()) {
    HLWQ_TRY(runtime.spend(1 + self.text().size() / 4));
    return runtime.text(reverse(self.text()));
  }
  HLWQ_TRY_ASSIGN(const SequencePtr items, iterate(runtime, self));
  const Sequence* own = self.sequence();
  return runtime.sequence(
      {items->items.rbegin(), items->items.rend()},
      own != nullptr && own->is_iterator() ? Sequence::Flavor::kList : Sequence::Flavor::kIterator);
}

// What items are ordered or told apart by: themselves or what `attribute` leads to, text in lower
// case unless `case_sensitive`.
Result<Value> sort_key(Runtime& runtime, const Value& item, const Value* attribute,
                       bool case_sensitive) {
  Value key = item;
  if (attribute != nullptr && !attribute->is_none()) {
    HLWQ_TRY_ASSIGN(key, get_path(runtime, item, *attribute));
  }
  if (case_sensitive || !key.is_text()) return key;
  HLWQ_TRY(runtime.spend(1 + key.text().size() / 4));
  return runtime.text(lower(key.text()));
}

// Stable. A merge sort, because an order that fails must stop it, and may be inconsistent (NaN).
Status sort_by_key(Runtime& runtime, std::vector<std::pair<Value, size_t>>& keys, bool reversed) {
  std::vector<std::pair<Value, size_t>> merged(keys.size());
  for (size_t width = 1; width < keys.size(); width *= 2) {
    for (size_t begin = 0; begin < keys.size(); begin += 2 * width) {
      const size_t middle = std::min(begin + width, keys.size());
      const size_t end = std::min(begin + 2 * width, keys.size());
      size_t left = begin;
      size_t right = middle;
      for (size_t out = begin; out < end; ++out) {
        bool takes_right = left == middle;
        if (left < middle && right < end) {
          HLWQ_TRY_ASSIGN(takes_right, reversed
                                           ? less(runtime, keys[left].first, keys[right].first)
                                           : less(runtime, keys[right].first, keys[left].first));
        }
        merged[out] = std::move(takes_right ? keys[right++] : keys[left++]);
      }
    }
    keys.swap(merged);
  }
  return {};
}

// `attributes`: null, or the one to sort by, or several separated by commas.
Result<Value> sorted(Runtime& runtime, const std::vector<Value>& items, const Value* attributes,
                     bool case_sensitive, bool reversed) {
  std::vector<Value> paths(1);
  if (attributes != nullptr && attributes->is_text()) {
    paths.clear();
    for (MarkedText& part : split(attributes->text(), ",", -1, false)) {
      HLWQ_TRY_ASSIGN(Value path, runtime.text(std::move(part)));
      paths.push_back(std::move(path));
    }
  } else if (attributes != nullptr) {
    paths[0] = *attributes;
  }
  std::vector<std::pair<Value, size_t>> keys;
  for (size_t i = 0; i < items.size(); ++i) {
    std::vector<Value> parts;
    for (const Value& path : paths) {
      HLWQ_TRY_ASSIGN(Value part, sort_key(runtime, items[i], &path, case_sensitive));
      parts.push_back(std::move(part));
    }
    HLWQ_TRY_ASSIGN(Value key, runtime.sequence(std::move(parts)));
    keys.emplace_back(std::move(key), i);
  }
  HLWQ_TRY(sort_by_key(runtime, keys, reversed));
  std::vector<Value> result;
  for (const auto& key : keys) result.push_back(items[key.second]);
  return runtime.sequence(std::move(result));
}

Result<Value> filter_sort(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, "sort", arguments,
                                                 {"reverse", "case_sensitive", "attribute"}));
  HLWQ_TRY_ASSIGN(const SequencePtr items, iterate(runtime, self));
  return sorted(runtime, items->items, bound[2], bound.truth(1, false), bound.truth(0, false));
}

Result<Value> filter_dictsort(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound,
                  Bound::bind(runtime, "dictsort", arguments, {"case_sensitive", "by", "reverse"}));
  if (self.is_undefined()) return runtime.error(self.why());
  if (self.dict() == nullptr)
    return runtime.error(fmt::format("dictsort: expected a dict, not {}", self.type_name()));
  int64_t side = 0;
  if (bound[1] != nullptr) {
    HLWQ_TRY_ASSIGN(const MarkedText* by, bound.text(runtime, 1));
    if (by->bytes() != "key" && by->bytes() != "value")
      return runtime.error("You can only sort by either \"key\" or \"value\"");
    side = by->bytes() == "value" ? 1 : 0;
  }
  HLWQ_TRY_ASSIGN(const Value method, get_attribute(runtime, self, "items"));
  HLWQ_TRY_ASSIGN(const Value items, method.object_as<Function>()->native(runtime, self, {}));
  const Value attribute(side);
  return sorted(runtime, items.sequence()->items, &attribute, bound.truth(0, false),
                bound.truth(2, false));
}

Result<Value> filter_unique(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound,
                  Bound::bind(runtime, "unique", arguments, {"case_sensitive", "attribute"}));
  HLWQ_TRY_ASSIGN(const SequencePtr items, iterate(runtime, self));
  // A dict finds keys fast; each key's value is the number of its first item.
  std::vector<Dict::Entry> keys;
  for (size_t i = items->items.size(); i-- > 0;) {
    HLWQ_TRY_ASSIGN(Value key, sort_key(runtime, items->items[i], bound[1], bound.truth(0, false)));
    keys.emplace_back(std::move(key), Value(static_cast<int64_t>(i)));
  }
  HLWQ_TRY_ASSIGN(const Value firsts, runtime.dict(std::move(keys)));
  std::vector<size_t> numbers;
  for (const auto& entry : firsts.dict()->entries)
    numbers.push_back(static_cast<size_t>(entry.second.integer()));
  std::sort(numbers.begin(), numbers.end());
  std::vector<Value> unique;
  for (const size_t number : numbers) unique.push_back(items->items[number]);
  return runtime.sequence(std::move(unique), Sequence::Flavor::kIterator);
}

Result<Value> filter_batch(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound,
                  Bound::bind(runtime, "batch", arguments, {"linecount", "fill_with"}, 1));
  HLWQ_TRY_ASSIGN(const int64_t count, bound.integer(runtime, 0, 1));
  if (count < 1) return runtime.error("batch: linecount must be at least 1");
  HLWQ_TRY_ASSIGN(const SequencePtr items, iterate(runtime, self));
  std::vector<Value> batches;
  std::vector<Value> batch;
  const auto flush = [&]() -> Status {
    HLWQ_TRY_ASSIGN(Value made, runtime.sequence(std::exchange(batch, {})));
    batches.push_back(std::move(made));
    return {};
  };
  for (const Value& item : items->items) {
    if (batch.size() == static_cast<size_t>(count)) HLWQ_TRY(flush());
    batch.push_back(item);
  }
  if (!batch.empty()) {
    if (!bound.is_none(1)) {
      HLWQ_TRY(runtime.spend(static_cast<uint64_t>(count)));
      batch.resize(static_cast<size_t>(count), *bound[1]);
    }
    HLWQ_TRY(flush());
  }
  return runtime.sequence(std::move(batches), Sequence::Flavor::kIterator);
}

Result<Value> filter_sum(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound,
                  Bound::bind(runtime, "sum", arguments, {"attribute", "start"}));
  HLWQ_TRY_ASSIGN(const SequencePtr items, iterate(runtime, self));
  Value sum = bound[1] == nullptr ? Value(int64_t{0}) : *bound[1];
  if (sum.is_text()) return runtime.error("sum() can't sum strings");
  for (Value item : items->items) {
    if (!bound.is_none(0)) {
      HLWQ_TRY_ASSIGN(item, get_path(runtime, item, *bound[0]));
    }
    HLWQ_TRY(runtime.spend(1));
    HLWQ_TRY_ASSIGN(sum, calculate(runtime, Operator::kAdd, sum, item));
  }
  return sum;
}

template <bool Largest>
Result<Value> filter_extreme(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, Largest ? "max" : "min", arguments,
                                                 {"case_sensitive", "attribute"}));
  HLWQ_TRY_ASSIGN(const SequencePtr items, iterate(runtime, self));
  if (items->items.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  const bool case_sensitive = bound.truth(0, false);
  size_t best = 0;
  HLWQ_TRY_ASSIGN(Value best_key, sort_key(runtime, items->items[0], bound[1], case_sensitive));
  for (size_t i = 1; i < items->items.size(); ++i) {
    HLWQ_TRY_ASSIGN(Value key, sort_key(runtime, items->items[i], bound[1], case_sensitive));
    HLWQ_TRY_ASSIGN(const bool better,
                    Largest ? less(runtime, best_key, key) : less(runtime, key, best_key));
    if (!better) continue;
    best = i;
    best_key = std::move(key);
  }
  return items->items[best];
}

Result<Value> filter_attr(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, "attr", arguments, {"name"}, 1));
  HLWQ_TRY_ASSIGN(const MarkedText* name, bound.text(runtime, 0));
  // An item of that name does not count.
  if (self.dict() != nullptr) {
    HLWQ_TRY_ASSIGN(const Value nothing, runtime.dict({}));
    HLWQ_TRY_ASSIGN(const Value found, get_attribute(runtime, nothing, name->bytes()));
    if (found.is_undefined()) return found;
  }
  return get_attribute(runtime, self, name->bytes());
}

constexpr NamedNative kFilters[] = {
    {"length", filter_length},     {"count", filter_length},      {"default", filter_default},
    {"d", filter_default},         {"items", filter_items},       {"list", filter_list},
    {"first", filter_first},       {"last", filter_last},         {"reverse", filter_reverse},
    {"sort", filter_sort},         {"dictsort", filter_dictsort}, {"unique", filter_unique},
    {"batch", filter_batch},       {"sum", filter_sum},           {"min", filter_extreme<false>},
    {"max", filter_extreme<true>}, {"attr", filter_attr},
};

}  // namespace

std::span<const NamedNative> sequence_filters() { return kFilters; }

}  // namespace hlwq::jinja
