// What follows `is`.

#include <algorithm>
#include <iterator>

#include "text/jinja/attributes.h"
#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"

namespace hlwq::jinja {
namespace {

struct NamedTest {
  std::string_view name;
  NativeTest test;
};

// A test without arguments that looks at the value's kind only.
template <bool (*Holds)(const Value&)>
Result<bool> test_kind(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "a test", arguments, {}));
  return Holds(self);
}

bool is_defined(const Value& value) { return !value.is_undefined(); }
bool is_undefined(const Value& value) { return value.is_undefined(); }
bool is_none(const Value& value) { return value.is_none(); }
bool is_boolean(const Value& value) { return value.is_bool(); }
bool is_true(const Value& value) { return value.is_bool() && value.boolean(); }
bool is_false(const Value& value) { return value.is_bool() && !value.boolean(); }
bool is_integer(const Value& value) { return value.is_integer(); }
bool is_float(const Value& value) { return value.is_float(); }
bool is_number(const Value& value) { return value.is_number(); }
bool is_string(const Value& value) { return value.is_text(); }
bool is_mapping(const Value& value) { return value.dict() != nullptr; }
bool is_escaped(const Value& /*value*/) { return false; }

// Has a length and items by subscript; so has a dict, and so has what is undefined.
bool is_sequence(const Value& value) {
  const Sequence* sequence = value.sequence();
  return value.is_undefined() || value.is_text() || value.dict() != nullptr ||
         (sequence != nullptr && sequence->is_indexed());
}

bool is_callable(const Value& value) {
  if (value.is_undefined()) return true;
  const Object* object = value.object();
  return object != nullptr && object->kind != Object::Kind::kNamespace;
}

template <int64_t Rest>
Result<bool> test_parity(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "a test", arguments, {}));
  HLWQ_TRY_ASSIGN(const Value rest, calculate(runtime, Operator::kModulo, self, Value(int64_t{2})));
  return equal(runtime, rest, Value(Rest));
}

Result<bool> test_divisibleby(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, "divisibleby", arguments, {"num"}, 1));
  HLWQ_TRY_ASSIGN(const Value rest, calculate(runtime, Operator::kModulo, self, *bound[0]));
  return equal(runtime, rest, Value(int64_t{0}));
}

template <Operator Comparison>
Result<bool> test_comparison(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, "a comparison", arguments, {"other"}, 1));
  return compare(runtime, Comparison, self, *bound[0]);
}

Result<bool> test_sameas(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, "sameas", arguments, {"other"}, 1));
  HLWQ_TRY(runtime.touch(self.is_text() ? self.text().size() : 0));
  return self.is(*bound[0]);
}

template <bool Upper>
Result<bool> test_case(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(MarkedText text, to_str(runtime, self));
  HLWQ_TRY_ASSIGN(const Value value, runtime.text(std::move(text)));
  const NamedMethod* method = find_text_method(Upper ? "isupper" : "islower");
  HLWQ_TRY_ASSIGN(const Value holds, method->native(runtime, value, arguments));
  return holds.boolean();
}

Result<bool> test_filter(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "filter", arguments, {}));
  return self.is_text() && find_filter(self.text().bytes()) != nullptr;
}

Result<bool> test_test(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "test", arguments, {}));
  return self.is_text() && find_test(self.text().bytes()) != nullptr;
}

constexpr NamedTest kTests[] = {
    {"defined", test_kind<is_defined>},
    {"undefined", test_kind<is_undefined>},
    {"none", test_kind<is_none>},
    {"boolean", test_kind<is_boolean>},
    {"true", test_kind<is_true>},
    {"false", test_kind<is_false>},
    {"integer", test_kind<is_integer>},
    {"float", test_kind<is_float>},
    {"number", test_kind<is_number>},
    {"string", test_kind<is_string>},
    {"mapping", test_kind<is_mapping>},
    {"iterable", test_kind<is_iterable>},
    {"sequence", test_kind<is_sequence>},
    {"callable", test_kind<is_callable>},
    {"escaped", test_kind<is_escaped>},
    {"odd", test_parity<1>},
    {"even", test_parity<0>},
    {"divisibleby", test_divisibleby},
    {"sameas", test_sameas},
    {"lower", test_case<false>},
    {"upper", test_case<true>},
    {"in", test_comparison<Operator::kIn>},
    {"eq", test_comparison<Operator::kEqual>},
    {"==", test_comparison<Operator::kEqual>},
    {"equalto", test_comparison<Operator::kEqual>},
    {"ne", test_comparison<Operator::kNotEqual>},
    {"!=", test_comparison<Operator::kNotEqual>},
    {"lt", test_comparison<Operator::kLess>},
    {"<", test_comparison<Operator::kLess>},
    {"lessthan", test_comparison<Operator::kLess>},
    {"le", test_comparison<Operator::kLessEqual>},
    {"<=", test_comparison<Operator::kLessEqual>},
    {"gt", test_comparison<Operator::kGreater>},
    {">", test_comparison<Operator::kGreater>},
    {"greaterthan", test_comparison<Operator::kGreater>},
    {"ge", test_comparison<Operator::kGreaterEqual>},
    {">=", test_comparison<Operator::kGreaterEqual>},
    {"filter", test_filter},
    {"test", test_test},
};

}  // namespace

NativeTest find_test(std::string_view name) {
  const auto* found = std::find_if(std::begin(kTests), std::end(kTests),
                                   [&](const NamedTest& test) { return test.name == name; });
  return found == std::end(kTests) ? nullptr : found->test;
}

}  // namespace hlwq::jinja
