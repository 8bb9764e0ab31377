#include "text/jinja/operators.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/jinja/find.h"
#include "text/jinja/unicode.h"

namespace hlwq::jinja {
namespace {

bool is_integral(const Value& value) { return value.is_bool() || value.is_integer(); }

bool numbers_equal(const Value& left, const Value& right) {
  if (is_integral(left) && is_integral(right)) return left.integer() == right.integer();
  const auto exact = [](const Value& value) {
    return value.is_float() ? static_cast<long double>(value.real())
                            : static_cast<long double>(value.integer());
  };
  return exact(left) == exact(right);
}

bool number_less(const Value& left, const Value& right) {
  if (is_integral(left) && is_integral(right)) return left.integer() < right.integer();
  const auto exact = [](const Value& value) {
    return value.is_float() ? static_cast<long double>(value.real())
                            : static_cast<long double>(value.integer());
  };
  return exact(left) < exact(right);
}

Result<bool> sequences_equal(Runtime& runtime, const Sequence& left, const Sequence& right) {
  if (left.flavor != right.flavor || left.is_iterator()) return false;
  if (left.items.size() != right.items.size()) return false;
  for (size_t i = 0; i < left.items.size(); ++i) {
    HLWQ_TRY_ASSIGN(const bool same, equal(runtime, left.items[i], right.items[i]));
    if (!same) return false;
  }
  return true;
}

Result<bool> dicts_equal(Runtime& runtime, const Dict& left, const Dict& right) {
  if (left.entries.size() != right.entries.size()) return false;
  for (const auto& [key, value] : left.entries) {
    HLWQ_TRY_ASSIGN(const std::optional<size_t> at, find_key(runtime, right, key));
    if (!at) return false;
    HLWQ_TRY_ASSIGN(const bool same, equal(runtime, value, right.entries[*at].second));
    if (!same) return false;
  }
  return true;
}

Status check_hashable(Runtime& runtime, const Value& key) {
  if (const Sequence* items = key.sequence()) {
    if (items->flavor == Sequence::Flavor::kTuple) {
      HLWQ_TRY(runtime.spend(1 + items->items.size()));
      for (const Value& item : items->items) HLWQ_TRY(check_hashable(runtime, item));
      return {};
    }
    if (items->flavor != Sequence::Flavor::kList) return {};
  } else if (key.dict() == nullptr) {
    return {};
  }
  return runtime.error(fmt::format("unhashable type: '{}'", key.type_name()));
}

}  // namespace

bool truth(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (value.is_bool() || value.is_integer()) return value.integer() != 0;
  if (value.is_float()) return value.real() != 0;
  if (value.is_text()) return value.text().size() > 0;
  if (const Sequence* items = value.sequence())
    return items->is_iterator() || !items->items.empty();
  if (const Dict* dict = value.dict()) return !dict->entries.empty();
  return true;
}

Result<bool> equal(Runtime& runtime, const Value& left, const Value& right) {
  HLWQ_TRY(runtime.spend(1));
  if (left.is_number() && right.is_number()) return numbers_equal(left, right);
  if (left.is_text() && right.is_text()) {
    const std::string& a = left.text().bytes();
    const std::string& b = right.text().bytes();
    if (a.size() != b.size()) return false;
    HLWQ_TRY(runtime.touch(a.size()));
    return a == b;
  }
  if (left.is_undefined()) return right.is_undefined();
  if (left.is(right)) return true;
  if (left.sequence() != nullptr && right.sequence() != nullptr)
    return sequences_equal(runtime, *left.sequence(), *right.sequence());
  if (left.dict() != nullptr && right.dict() != nullptr)
    return dicts_equal(runtime, *left.dict(), *right.dict());
  return false;
}

Result<bool> less(Runtime& runtime, const Value& left, const Value& right) {
  HLWQ_TRY(runtime.spend(1));
  if (left.is_undefined()) return runtime.error(left.why());
  if (right.is_undefined()) return runtime.error(right.why());
  if (left.is_number() && right.is_number()) return number_less(left, right);
  if (left.is_text() && right.is_text()) {
    HLWQ_TRY(runtime.touch(std::min(left.text().size(), right.text().size())));
    return left.text().bytes() < right.text().bytes();  // the order of UTF-8 is Unicode's
  }
  const Sequence* a = left.sequence();
  const Sequence* b = right.sequence();
  const bool ordered =
      a != nullptr && b != nullptr && a->flavor == b->flavor &&
      (a->flavor == Sequence::Flavor::kList || a->flavor == Sequence::Flavor::kTuple);
  if (!ordered) {
    return runtime.error(fmt::format("'<' not supported between instances of '{}' and '{}'",
                                     left.type_name(), right.type_name()));
  }
  for (size_t i = 0; i < std::min(a->items.size(), b->items.size()); ++i) {
    HLWQ_TRY_ASSIGN(const bool same, equal(runtime, a->items[i], b->items[i]));
    if (!same) return less(runtime, a->items[i], b->items[i]);
  }
  return a->items.size() < b->items.size();
}

Result<bool> contains(Runtime& runtime, const Value& container, const Value& item) {
  if (container.is_text()) {
    if (item.is_undefined()) return runtime.error(item.why());
    if (!item.is_text()) {
      return runtime.error(
          fmt::format("'in <string>' requires string as left operand, not {}", item.type_name()));
    }
    HLWQ_TRY(runtime.touch(container.text().size() + item.text().size()));
    return find_bytes(container.text().bytes(), item.text().bytes(), 0) != std::string::npos;
  }
  if (const Dict* dict = container.dict()) {
    HLWQ_TRY_ASSIGN(const std::optional<size_t> at, find_key(runtime, *dict, item));
    return at.has_value();
  }
  if (!is_iterable(container)) {
    return runtime.error(
        fmt::format("argument of type '{}' is not iterable", container.type_name()));
  }
  HLWQ_TRY_ASSIGN(const SequencePtr items, iterate(runtime, container));
  for (const Value& other : items->items) {
    HLWQ_TRY_ASSIGN(const bool same, equal(runtime, other, item));
    if (same) return true;
  }
  return false;
}

Result<bool> compare(Runtime& runtime, Operator operation, const Value& left, const Value& right) {
  switch (operation) {
    case Operator::kEqual:
      return equal(runtime, left, right);
    case Operator::kNotEqual: {
      HLWQ_TRY_ASSIGN(const bool same, equal(runtime, left, right));
      return !same;
    }
    case Operator::kLess:
      return less(runtime, left, right);
    case Operator::kGreater:
      return less(runtime, right, left);
    case Operator::kLessEqual:
    case Operator::kGreaterEqual: {
      const bool swapped = operation == Operator::kGreaterEqual;
      const Value& low = swapped ? right : left;
      const Value& high = swapped ? left : right;
      HLWQ_TRY_ASSIGN(const bool is_less, less(runtime, low, high));
      if (is_less) return true;
      return equal(runtime, low, high);
    }
    case Operator::kIn:
      return contains(runtime, right, left);
    default: {
      HLWQ_TRY_ASSIGN(const bool inside, contains(runtime, right, left));
      return !inside;
    }
  }
}

Result<std::optional<size_t>> find_key(Runtime& runtime, const Dict& dict, const Value& key) {
  HLWQ_TRY(runtime.spend(1));
  if (key.is_text()) {
    HLWQ_TRY(runtime.touch(key.text().size()));
    const auto found = dict.by_text.find(key.text().bytes());
    if (found == dict.by_text.end()) return std::optional<size_t>();
    return std::optional<size_t>(found->second);
  }
  HLWQ_TRY(check_hashable(runtime, key));
  if (dict.by_text.size() == dict.entries.size()) return std::optional<size_t>();
  for (size_t i = 0; i < dict.entries.size(); ++i) {
    HLWQ_TRY_ASSIGN(const bool same, equal(runtime, dict.entries[i].first, key));
    if (same) return std::optional<size_t>(i);
  }
  return std::optional<size_t>();
}

Result<int64_t> length(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_text()) {
    HLWQ_TRY(runtime.touch(value.text().size()));
    return static_cast<int64_t>(count_characters(value.text().bytes()));
  }
  if (const Sequence* items = value.sequence(); items != nullptr && !items->is_iterator())
    return static_cast<int64_t>(items->items.size());
  if (const Dict* dict = value.dict()) return static_cast<int64_t>(dict->entries.size());
  if (const Loop* loop = value.object_as<Loop>())
    return static_cast<int64_t>(loop->sequence->items.size());
  return runtime.error(fmt::format("object of type '{}' has no len()", value.type_name()));
}

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.is_text() || value.sequence() != nullptr ||
         value.dict() != nullptr;
}

Result<SequencePtr> iterate(Runtime& runtime, const Value& value) {
  std::vector<Value> items;
  if (const Sequence* sequence = value.sequence()) {
    if (!sequence->is_iterator()) return value.sequence_ptr();
    items.assign(sequence->items.begin() + static_cast<ptrdiff_t>(sequence->gone),
                 sequence->items.end());
    sequence->gone = sequence->items.size();
  } else if (const Dict* dict = value.dict()) {
    items.reserve(dict->entries.size());
    for (const auto& entry : dict->entries) items.push_back(entry.first);
  } else if (value.is_text()) {
    const MarkedText& text = value.text();
    for (size_t at = 0; at < text.size();) {
      const size_t end = at + character_bytes(text.bytes(), at);
      HLWQ_TRY_ASSIGN(Value character, runtime.text(text.slice(at, end)));
      items.push_back(std::move(character));
      at = end;
    }
  } else if (!value.is_undefined()) {
    return runtime.error(fmt::format("'{}' object is not iterable", value.type_name()));
  }
  HLWQ_TRY_ASSIGN(const Value made, runtime.sequence(std::move(items)));
  return made.sequence_ptr();
}

}  // namespace hlwq::jinja
