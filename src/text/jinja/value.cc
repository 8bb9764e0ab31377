#include "text/jinja/value.h"

#include <limits>

namespace hlwq::jinja {

Value::Value(uint64_t value) {
  if (value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    storage_ = static_cast<int64_t>(value);
  } else {
    storage_ = value;
  }
}

Value Value::undefined(std::string why) {
  Value value;
  value.storage_ = Undefined{std::make_shared<const std::string>(std::move(why))};
  return value;
}

Value Value::literal(std::string_view bytes) {
  return Value(std::make_shared<const Text>(Text{MarkedText(bytes, Origin::kTemplate)}));
}

__int128 Value::integer() const {
  if (const bool* value = std::get_if<bool>(&storage_)) return *value ? 1 : 0;
  if (const uint64_t* value = std::get_if<uint64_t>(&storage_)) return *value;
  return std::get<int64_t>(storage_);
}

double Value::real() const {
  if (const double* value = std::get_if<double>(&storage_)) return *value;
  return static_cast<double>(integer());
}

bool Value::is(const Value& other) const {
  if (storage_.index() != other.storage_.index()) return false;
  if (is_none()) return true;
  if (is_text()) return text().bytes() == other.text().bytes();
  if (is_float()) return real() == other.real();
  if (is_bool() || is_integer()) return integer() == other.integer();
  if (is_undefined()) return &why() == &other.why();
  return sequence() == other.sequence() && dict() == other.dict() && object() == other.object();
}

bool Value::has_data() const {
  if (is_text()) return text().has_data();
  if (const Sequence* items = sequence()) return items->has_data;
  if (const Dict* entries = dict()) return entries->has_data;
  return is_data_;
}

int Value::depth() const {
  if (const Sequence* items = sequence()) return items->depth;
  if (const Dict* entries = dict()) return entries->depth;
  if (const Loop* loop = object_as<Loop>()) return loop->sequence->depth;
  if (const Function* function = object_as<Function>()) return function->self.depth() + 1;
  if (const Joiner* joiner = object_as<Joiner>()) return joiner->separator.depth() + 1;
  return 0;
}

std::string_view Value::type_name() const {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "NoneType";
  if (is_bool()) return "bool";
  if (is_integer()) return "int";
  if (is_float()) return "float";
  if (is_text()) return "str";
  if (dict() != nullptr) return "dict";
  if (const Sequence* items = sequence()) {
    switch (items->flavor) {
      case Sequence::Flavor::kList:
        return "list";
      case Sequence::Flavor::kTuple:
        return "tuple";
      case Sequence::Flavor::kRange:
        return "range";
      case Sequence::Flavor::kKeys:
        return "dict_keys";
      case Sequence::Flavor::kValues:
        return "dict_values";
      case Sequence::Flavor::kItems:
        return "dict_items";
      case Sequence::Flavor::kIterator:
        return "generator";
    }
  }
  switch (object()->kind) {
    case Object::Kind::kNamespace:
      return "Namespace";
    case Object::Kind::kLoop:
      return "LoopContext";
    case Object::Kind::kMacro:
      return "Macro";
    case Object::Kind::kFunction:
      return "function";
    case Object::Kind::kJoiner:
      return "Joiner";
  }
  return "object";
}

const Value* Dict::find(std::string_view key) const {
  const auto found = by_text.find(key);
  return found == by_text.end() ? nullptr : &entries[found->second].second;
}

}  // namespace hlwq::jinja
