#pragma once
// Values of templates: Python's, as far as Jinja shows them. Text, sequences and dicts never change
// once made (transformers' sandbox forbids changing them too), so only namespaces and scopes could
// hold themselves.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "text/jinja/marked_text.h"

namespace hlwq::jinja {

// The bytes that one render holds, and RAII shares of them. A Memory outlives its charges.
struct Memory {
  size_t live_bytes = 0;
};
class Charge {
 public:
  Charge() = default;
  Charge(Memory& memory, size_t bytes) : memory_(&memory), bytes_(bytes) {
    memory.live_bytes += bytes;
  }
  Charge(Charge&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)), bytes_(other.bytes_) {}
  Charge& operator=(Charge&&) = delete;
  ~Charge() {
    if (memory_ != nullptr) memory_->live_bytes -= bytes_;
  }

 private:
  Memory* memory_ = nullptr;
  size_t bytes_ = 0;
};

struct Text {
  MarkedText marked;
  Charge charge = {};
};
struct Sequence;
struct Dict;

// Things with an identity: what calls, loops and namespaces are made of.
struct Object {
  enum class Kind { kNamespace, kLoop, kMacro, kFunction, kJoiner };
  explicit Object(Kind which) : kind(which) {}
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;
  const Kind kind;
};

// What a lookup in vain gives: empty when printed, an error when used further.
struct Undefined {
  std::shared_ptr<const std::string> why;  // "'x' is undefined"; never null
};
struct None {};

using TextPtr = std::shared_ptr<const Text>;
using SequencePtr = std::shared_ptr<const Sequence>;
using DictPtr = std::shared_ptr<const Dict>;
using ObjectPtr = std::shared_ptr<Object>;

class Value {
 public:
  Value() : storage_(None{}) {}
  explicit Value(bool value) : storage_(value) {}
  explicit Value(int64_t value) : storage_(value) {}
  explicit Value(uint64_t value);
  explicit Value(double value) : storage_(value) {}
  explicit Value(TextPtr text) : storage_(std::move(text)) {}
  explicit Value(SequencePtr sequence) : storage_(std::move(sequence)) {}
  explicit Value(DictPtr dict) : storage_(std::move(dict)) {}
  explicit Value(ObjectPtr object) : storage_(std::move(object)) {}
  static Value undefined(std::string why);
  // Text of the template's own, not counted in any render's memory.
  static Value literal(std::string_view bytes);

  [[nodiscard]] bool is_undefined() const { return holds<Undefined>(); }
  [[nodiscard]] bool is_none() const { return holds<None>(); }
  [[nodiscard]] bool is_bool() const { return holds<bool>(); }
  // An integer that is not a bool; from -2^63 to 2^64 - 1.
  [[nodiscard]] bool is_integer() const { return holds<int64_t>() || holds<uint64_t>(); }
  [[nodiscard]] bool is_float() const { return holds<double>(); }
  [[nodiscard]] bool is_number() const { return is_bool() || is_integer() || is_float(); }
  [[nodiscard]] bool is_text() const { return holds<TextPtr>(); }

  [[nodiscard]] const std::string& why() const { return *std::get<Undefined>(storage_).why; }
  [[nodiscard]] bool boolean() const { return std::get<bool>(storage_); }
  // Of a bool or an integer.
  [[nodiscard]] __int128 integer() const;
  // Of any number.
  [[nodiscard]] double real() const;
  [[nodiscard]] const MarkedText& text() const { return std::get<TextPtr>(storage_)->marked; }
  // Null when the value is something else.
  [[nodiscard]] const Sequence* sequence() const { return pointee<SequencePtr>(); }
  [[nodiscard]] const Dict* dict() const { return pointee<DictPtr>(); }
  [[nodiscard]] Object* object() const { return pointee<ObjectPtr>(); }
  [[nodiscard]] const SequencePtr& sequence_ptr() const { return std::get<SequencePtr>(storage_); }
  template <typename T>
  [[nodiscard]] T* object_as() const {
    Object* base = object();
    return base != nullptr && base->kind == T::kKind ? static_cast<T*>(base) : nullptr;
  }
  // The same object, or the same number, text, None or bool.
  [[nodiscard]] bool is(const Value& other) const;

  // Whether anything in it, at any depth, came from outside.
  [[nodiscard]] bool has_data() const;
  [[nodiscard]] Origin origin() const { return has_data() ? Origin::kData : Origin::kTemplate; }
  // A number or bool from outside. No effect on anything else, which knows by itself.
  [[nodiscard]] Value marked(bool is_data) const {
    Value value = *this;
    value.is_data_ = is_data;
    return value;
  }
  // How deep it owns other values: 0 for what owns none. Namespaces do not count: they are emptied
  // one by one (see Runtime).
  [[nodiscard]] int depth() const;
  // Python's name of the type, for messages.
  [[nodiscard]] std::string_view type_name() const;

 private:
  template <typename T>
  [[nodiscard]] bool holds() const {
    return std::holds_alternative<T>(storage_);
  }
  template <typename Pointer>
  [[nodiscard]] typename Pointer::element_type* pointee() const {
    const Pointer* pointer = std::get_if<Pointer>(&storage_);
    return pointer == nullptr ? nullptr : pointer->get();
  }

  std::variant<Undefined, None, bool, int64_t, uint64_t, double, TextPtr, SequencePtr, DictPtr,
               ObjectPtr>
      storage_;
  bool is_data_ = false;
};

struct Sequence {
  enum class Flavor {
    kList,
    kTuple,
    kRange,
    kKeys,
    kValues,
    kItems,
    kIterator,  // what map, select and their like give: goes by once, has no length
  };
  Flavor flavor = Flavor::kList;
  std::vector<Value> items;
  Charge charge = {};
  int depth = 1;
  bool has_data = false;
  // Items of a kIterator that have gone by. Belongs to the one render that made it.
  mutable size_t gone = 0;

  [[nodiscard]] bool is_iterator() const { return flavor == Flavor::kIterator; }
  // Has items by number.
  [[nodiscard]] bool is_indexed() const {
    return flavor == Flavor::kList || flavor == Flavor::kTuple || flavor == Flavor::kRange;
  }
};

// In the order of insertion. Keys are text, numbers, None or tuples of those.
struct Dict {
  using Entry = std::pair<Value, Value>;
  std::vector<Entry> entries;
  std::map<std::string_view, size_t> by_text;  // positions of the keys that are text
  Charge charge = {};
  int depth = 1;
  bool has_data = false;

  // Null without that key.
  [[nodiscard]] const Value* find(std::string_view key) const;
};

struct Namespace : Object {
  static constexpr Kind kKind = Kind::kNamespace;
  explicit Namespace(Charge held) : Object(kKind), charge(std::move(held)) {}
  std::map<std::string, Value, std::less<>> attributes;
  Charge charge;
};

struct Loop : Object {
  static constexpr Kind kKind = Kind::kLoop;
  Loop() : Object(kKind) {}
  SequencePtr sequence;
  size_t index = 0;
};

class Runtime;
struct Arguments;
// A filter (`self`: what it is applied to), a method, or a global function (`self`: None).
using Native = Result<Value> (*)(Runtime& runtime, const Value& self, const Arguments& arguments);

struct Function : Object {
  static constexpr Kind kKind = Kind::kFunction;
  Function(std::string_view called, Native what, Value of)
      : Object(kKind), name(called), native(what), self(std::move(of)) {}
  std::string_view name;  // a literal's
  Native native;
  Value self;
};

// Nothing the first time it is called, later a separator.
struct Joiner : Object {
  static constexpr Kind kKind = Kind::kJoiner;
  explicit Joiner(Value between) : Object(kKind), separator(std::move(between)) {}
  Value separator;
  bool used = false;
};

}  // namespace hlwq::jinja
