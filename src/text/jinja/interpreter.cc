#include "text/jinja/interpreter.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/jinja/attributes.h"
#include "text/jinja/interpreter_state.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"

namespace hlwq::jinja {

Interpreter::Interpreter(const Syntax& syntax, std::string_view where, const Limits& limits,
                         const std::tm& now)
    : syntax_(syntax), runtime_(where, limits, now), scope_(std::make_shared<Scope>(nullptr)) {}

void Interpreter::set(std::string_view name, Value value) {
  const auto known = syntax_.names.find(name);
  if (known != syntax_.names.end())
    scope_->variables.insert_or_assign(known->second, std::move(value));
}

Result<MarkedText> Interpreter::run() {
  MarkedText text;
  out_ = &text;
  HLWQ_TRY(run_block(syntax_.body));
  return text;
}

Result<Interpreter::Flow> Interpreter::run_block(const Block& block) {
  for (const Statement& statement : block) {
    HLWQ_TRY_ASSIGN(const Flow flow, run_statement(statement));
    if (flow != Flow::kOn) return flow;
  }
  return Flow::kOn;
}

Result<Interpreter::Flow> Interpreter::run_inside(const Block& block) {
  const Inside inside(*this, scope_);
  return run_block(block);
}

Result<Interpreter::Flow> Interpreter::run_statement(const Statement& statement) {
  Depth depth(*this);
  HLWQ_TRY(depth.check(statement.line));
  switch (statement.kind) {
    case Statement::Kind::kData:
      HLWQ_TRY(runtime_.touch(statement.text.size()));
      HLWQ_TRY(runtime_.expect_text(out_->size() + statement.text.size()));
      out_->append(statement.text, Origin::kTemplate);
      return Flow::kOn;
    case Statement::Kind::kOutput: {
      HLWQ_TRY_ASSIGN(const Value value, evaluate(*statement.value));
      runtime_.at_line(statement.line);
      HLWQ_TRY(append_str(runtime_, value, *out_));
      return Flow::kOn;
    }
    case Statement::Kind::kIf:
      return run_if(statement);
    case Statement::Kind::kFor:
      return run_for(statement);
    case Statement::Kind::kSet: {
      HLWQ_TRY_ASSIGN(Value value, evaluate(*statement.value));
      HLWQ_TRY(assign(statement.target, std::move(value)));
      return Flow::kOn;
    }
    case Statement::Kind::kSetBlock: {
      HLWQ_TRY_ASSIGN(Value value, capture_filtered(statement));
      HLWQ_TRY(assign(statement.target, std::move(value)));
      return Flow::kOn;
    }
    case Statement::Kind::kMacro:
      HLWQ_TRY(runtime_.spend(kSmallObjectSteps));
      scope_->variables.insert_or_assign(
          statement.target.name, Value(ObjectPtr(std::make_shared<Macro>(statement, scope_))));
      return Flow::kOn;
    case Statement::Kind::kCallBlock:
      HLWQ_TRY(run_call_block(statement));
      return Flow::kOn;
    case Statement::Kind::kFilterBlock: {
      HLWQ_TRY_ASSIGN(const Value value, capture_filtered(statement));
      HLWQ_TRY(append_str(runtime_, value, *out_));
      return Flow::kOn;
    }
    case Statement::Kind::kWith:
      return run_with(statement);
    case Statement::Kind::kScope:
      return run_inside(statement.body);
    case Statement::Kind::kBreak:
      return Flow::kBreak;
    case Statement::Kind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kOn;
}

Result<Interpreter::Flow> Interpreter::run_if(const Statement& statement) {
  for (const Statement::Branch& branch : statement.branches) {
    if (branch.condition == nullptr) return run_block(branch.body);
    HLWQ_TRY_ASSIGN(const Value condition, evaluate(*branch.condition));
    if (truth(condition)) return run_block(branch.body);
  }
  return Flow::kOn;
}

Result<SequencePtr> Interpreter::loop_items(const Statement& statement) {
  HLWQ_TRY_ASSIGN(const Value value, evaluate(*statement.value));
  runtime_.at_line(statement.line);
  HLWQ_TRY_ASSIGN(const SequencePtr all, iterate(runtime_, value));
  if (statement.condition == nullptr) return all;
  std::vector<Value> kept;
  for (const Value& item : all->items) {
    const Inside inside(*this, scope_);
    HLWQ_TRY(assign(statement.target, item));
    HLWQ_TRY_ASSIGN(const Value condition, evaluate(*statement.condition));
    if (truth(condition)) kept.push_back(item);
  }
  HLWQ_TRY_ASSIGN(const Value made, runtime_.sequence(std::move(kept)));
  return made.sequence_ptr();
}

Result<Interpreter::Flow> Interpreter::run_for(const Statement& statement) {
  HLWQ_TRY_ASSIGN(const SequencePtr items, loop_items(statement));
  if (items->items.empty()) return run_inside(statement.otherwise);
  const auto loop = std::make_shared<Loop>();
  loop->sequence = items;
  const Value loop_value{ObjectPtr(loop)};
  const auto name = syntax_.names.find("loop");
  for (size_t i = 0; i < items->items.size(); ++i) {
    HLWQ_TRY(runtime_.spend(1));
    loop->index = i;
    const Inside inside(*this, scope_);
    if (name != syntax_.names.end()) scope_->variables.emplace(name->second, loop_value);
    HLWQ_TRY(assign(statement.target, items->items[i]));
    HLWQ_TRY_ASSIGN(const Flow flow, run_block(statement.body));
    if (flow == Flow::kBreak) break;
  }
  return Flow::kOn;
}

Result<Interpreter::Flow> Interpreter::run_with(const Statement& statement) {
  std::vector<Value> values;
  for (const Statement::Branch& branch : statement.branches) {
    HLWQ_TRY_ASSIGN(Value value, evaluate(*branch.condition));
    values.push_back(std::move(value));
  }
  const Inside inside(*this, scope_);
  for (size_t i = 0; i < values.size(); ++i)
    HLWQ_TRY(assign(statement.branches[i].target, std::move(values[i])));
  return run_block(statement.body);
}

Status Interpreter::run_call_block(const Statement& statement) {
  const Expression& expression = *statement.value;
  HLWQ_TRY_ASSIGN(const Value called, evaluate(*expression.operands[0]));
  HLWQ_TRY_ASSIGN(Arguments arguments, evaluate_arguments(expression.arguments));
  arguments.named.emplace_back("caller",
                               Value(ObjectPtr(std::make_shared<Macro>(statement, scope_))));
  runtime_.at_line(statement.line);
  HLWQ_TRY_ASSIGN(const Value text, call(called, arguments));
  return append_str(runtime_, text, *out_);
}

Result<Value> Interpreter::capture(const Block& block) {
  MarkedText text;
  MarkedText* const before = std::exchange(out_, &text);
  const Result<Flow> flow = run_inside(block);
  out_ = before;
  if (!flow) return tl::unexpected<Error>(flow.error());
  return runtime_.text(std::move(text));
}

Result<Value> Interpreter::capture_filtered(const Statement& statement) {
  HLWQ_TRY_ASSIGN(Value text, capture(statement.body));
  block_texts_.push_back(std::move(text));
  Result<Value> filtered = evaluate(*statement.value);
  block_texts_.pop_back();
  return filtered;
}

Status Interpreter::assign(const Target& target, Value value) {
  switch (target.kind) {
    case Target::Kind::kName:
      scope_->variables.insert_or_assign(target.name, std::move(value));
      return {};
    case Target::Kind::kAttribute: {
      HLWQ_TRY_ASSIGN(const Value object, evaluate_name(target.name));
      Namespace* space = object.object_as<Namespace>();
      if (space == nullptr)
        return runtime_.error("cannot assign attribute on non-namespace object");
      HLWQ_TRY(runtime_.spend(kSmallObjectSteps));
      space->attributes.insert_or_assign(target.attribute, std::move(value));
      return {};
    }
    case Target::Kind::kSeveral: {
      if (value.is_undefined()) return runtime_.error(value.why());
      HLWQ_TRY_ASSIGN(const SequencePtr items, iterate(runtime_, value));
      if (items->items.size() != target.parts.size()) {
        return runtime_.error(fmt::format("cannot unpack {} values into {}", items->items.size(),
                                          target.parts.size()));
      }
      for (size_t i = 0; i < target.parts.size(); ++i)
        HLWQ_TRY(assign(target.parts[i], items->items[i]));
      return {};
    }
  }
  return {};
}

}  // namespace hlwq::jinja
