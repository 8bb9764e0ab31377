#pragma once
// Runs a parsed template once. As Jinja2 3.1 with transformers' settings, except:
//  - a loop's filter looks at all items before the body runs;
//  - `safe` changes nothing; recursive loops, inheritance, imports and formatting with % or
//    str.format are errors (kUnsupported);
//  - integers have 64 bits, and case mappings are of one character each.

#include <memory>
#include <string_view>
#include <unordered_map>

#include "text/jinja/runtime.h"
#include "text/jinja/syntax.h"

namespace hlwq::jinja {

// Variables of a block, and the scope around it.
struct Scope {
  explicit Scope(std::shared_ptr<Scope> around) : parent(std::move(around)) {}
  std::shared_ptr<Scope> parent;
  std::unordered_map<NameId, Value> variables;
};

// A macro or the caller of a call block. It does not keep its scope alive, which holds it.
struct Macro : Object {
  static constexpr Kind kKind = Kind::kMacro;
  Macro(const Statement& made_by, const std::shared_ptr<Scope>& around)
      : Object(kKind), statement(made_by), scope(around) {}
  const Statement& statement;
  std::weak_ptr<Scope> scope;
};

class Interpreter {
 public:
  // `where`: see Runtime. All arguments must outlive this object.
  Interpreter(const Syntax& syntax, std::string_view where, const Limits& limits,
              const std::tm& now);

  [[nodiscard]] Runtime& runtime() { return runtime_; }
  // A variable from outside. Whether the template mentions it can be asked first.
  [[nodiscard]] bool mentions(std::string_view name) const { return syntax_.names.contains(name); }
  void set(std::string_view name, Value value);
  // The text; to be called once. Errors: the template's, or of a bound exceeded.
  [[nodiscard]] Result<MarkedText> run();

 private:
  enum class Flow { kOn, kBreak, kContinue };
  class Depth;
  class Inside;

  [[nodiscard]] Result<Flow> run_block(const Block& block);
  [[nodiscard]] Result<Flow> run_statement(const Statement& statement);
  [[nodiscard]] Result<Flow> run_inside(const Block& block);
  [[nodiscard]] Result<Flow> run_if(const Statement& statement);
  [[nodiscard]] Result<Flow> run_for(const Statement& statement);
  [[nodiscard]] Result<SequencePtr> loop_items(const Statement& statement);
  [[nodiscard]] Result<Flow> run_with(const Statement& statement);
  [[nodiscard]] Status run_call_block(const Statement& statement);
  // The text that a block writes, in a scope of its own.
  [[nodiscard]] Result<Value> capture(const Block& block);
  // The same through a filter and set block's filters.
  [[nodiscard]] Result<Value> capture_filtered(const Statement& statement);
  [[nodiscard]] Status write(const Value& value);
  [[nodiscard]] Status assign(const Target& target, Value value);

  [[nodiscard]] Result<Value> evaluate(const Expression& expression);
  [[nodiscard]] Result<Value> evaluate_name(NameId name);
  [[nodiscard]] Result<std::vector<Value>> evaluate_operands(const Expression& expression);
  [[nodiscard]] Result<Value> evaluate_dict(const Expression& expression);
  [[nodiscard]] Result<Value> evaluate_logic(const Expression& expression);
  [[nodiscard]] Result<Value> evaluate_sign(const Expression& expression);
  [[nodiscard]] Result<Value> evaluate_arithmetic(const Expression& expression);
  [[nodiscard]] Result<Value> evaluate_compare(const Expression& expression);
  [[nodiscard]] Result<Value> evaluate_concatenation(const Expression& expression);
  [[nodiscard]] Result<Value> evaluate_conditional(const Expression& expression);
  [[nodiscard]] Result<Value> evaluate_subscript(const Expression& expression);
  [[nodiscard]] Result<Value> evaluate_slice(const Expression& expression);
  [[nodiscard]] Result<Value> evaluate_call(const Expression& expression);
  [[nodiscard]] Result<Value> evaluate_filter(const Expression& expression);
  [[nodiscard]] Result<Value> evaluate_test(const Expression& expression);

  [[nodiscard]] Result<Arguments> evaluate_arguments(const CallArguments& arguments);
  [[nodiscard]] Result<Value> call(const Value& called, const Arguments& arguments);
  [[nodiscard]] Result<Value> call_macro(const Macro& macro, const Arguments& arguments);
  [[nodiscard]] Status bind_parameters(const Signature& signature, const Arguments& arguments);

  const Syntax& syntax_;
  Runtime runtime_;  // before all that holds values
  std::shared_ptr<Scope> scope_;
  MarkedText* out_ = nullptr;
  std::vector<Value> block_texts_;  // of the filter and set blocks that are being filtered
  int depth_ = 0;
};

}  // namespace hlwq::jinja
