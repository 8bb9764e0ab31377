// Interpreter's calls.

#include <fmt/format.h>

#include <algorithm>

#include "io/printable.h"
#include "text/jinja/interpreter_state.h"
#include "text/jinja/operators.h"

namespace hlwq::jinja {

Result<Arguments> Interpreter::evaluate_arguments(const CallArguments& arguments) {
  Arguments evaluated;
  for (const ExpressionPtr& argument : arguments.positional) {
    HLWQ_TRY_ASSIGN(Value value, evaluate(*argument));
    evaluated.positional.push_back(std::move(value));
  }
  if (arguments.more_positional != nullptr) {
    HLWQ_TRY_ASSIGN(const Value more, evaluate(*arguments.more_positional));
    HLWQ_TRY_ASSIGN(const SequencePtr items, iterate(runtime_, more));
    HLWQ_TRY(runtime_.spend(items->items.size()));
    evaluated.positional.insert(evaluated.positional.end(), items->items.begin(),
                                items->items.end());
  }
  for (const auto& [name, argument] : arguments.named) {
    HLWQ_TRY_ASSIGN(Value value, evaluate(*argument));
    evaluated.named.emplace_back(name, std::move(value));
  }
  if (arguments.more_named != nullptr) {
    HLWQ_TRY_ASSIGN(const Value more, evaluate(*arguments.more_named));
    if (more.dict() == nullptr) return runtime_.error("what follows ** must be a mapping");
    for (const auto& [key, value] : more.dict()->entries) {
      if (!key.is_text()) return runtime_.error("keywords must be strings");
      HLWQ_TRY(runtime_.touch(key.text().size() + kSmallObjectSteps));
      evaluated.named.emplace_back(key.text().bytes(), value);
    }
  }
  return evaluated;
}

Result<Value> Interpreter::call(const Value& called, const Arguments& arguments) {
  if (called.is_undefined()) return runtime_.error(called.why());
  if (const Function* function = called.object_as<Function>())
    return function->native(runtime_, function->self, arguments);
  if (const Macro* macro = called.object_as<Macro>()) return call_macro(*macro, arguments);
  if (Joiner* joiner = called.object_as<Joiner>())
    return std::exchange(joiner->used, true) ? joiner->separator : Value::literal("");
  return runtime_.error(fmt::format("'{}' object is not callable", called.type_name()));
}

Result<Value> Interpreter::call_macro(const Macro& macro, const Arguments& arguments) {
  const std::shared_ptr<Scope> around = macro.scope.lock();
  if (around == nullptr) {
    return runtime_.unsupported(
        fmt::format("macro '{}' is called outside of the block that defines it",
                    macro.statement.signature.name));
  }
  const Inside inside(*this, around);
  HLWQ_TRY(bind_parameters(macro.statement.signature, arguments));
  return capture(macro.statement.body);
}

// Gives the parameters their values in the current scope, where defaults are evaluated too.
Status Interpreter::bind_parameters(const Signature& signature, const Arguments& arguments) {
  const std::vector<NameId>& parameters = signature.parameters;
  std::vector<bool> given(parameters.size(), false);
  const size_t positional = std::min(arguments.positional.size(), parameters.size());
  for (size_t i = 0; i < positional; ++i) {
    scope_->variables.insert_or_assign(parameters[i], arguments.positional[i]);
    given[i] = true;
  }
  const std::vector<Value> more(arguments.positional.begin() + static_cast<ptrdiff_t>(positional),
                                arguments.positional.end());
  if (!more.empty() && !signature.uses_more_positional) {
    return runtime_.error(fmt::format("macro '{}' takes not more than {} argument(s)",
                                      signature.name, parameters.size()));
  }
  std::vector<Dict::Entry> more_named;
  Value caller = Value::undefined("No caller defined");
  for (const auto& argument : arguments.named) {
    const std::string& name = argument.first;  // a structured binding cannot be captured
    const Value& value = argument.second;
    HLWQ_TRY(runtime_.spend(1 + parameters.size()));
    const auto found = std::find_if(parameters.begin(), parameters.end(),
                                    [&](NameId id) { return syntax_.spelling[id] == name; });
    if (found != parameters.end()) {
      const auto i = static_cast<size_t>(found - parameters.begin());
      if (given[i]) {
        return runtime_.error(fmt::format("macro '{}' got two values for argument '{}'",
                                          signature.name, printable(name)));
      }
      scope_->variables.insert_or_assign(*found, value);
      given[i] = true;
    } else if (name == "caller" && signature.uses_caller) {
      caller = value;
    } else if (signature.uses_more_named) {
      HLWQ_TRY_ASSIGN(Value key, runtime_.text(name, Origin::kTemplate));
      more_named.emplace_back(std::move(key), value);
    } else {
      return runtime_.error(fmt::format("macro '{}' takes no keyword argument '{}'", signature.name,
                                        printable(name)));
    }
  }
  const size_t first_default = parameters.size() - signature.defaults.size();
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (given[i]) continue;
    Value value = Value::undefined(
        fmt::format("parameter '{}' was not provided", syntax_.spelling[parameters[i]]));
    if (i >= first_default) {
      HLWQ_TRY_ASSIGN(value, evaluate(*signature.defaults[i - first_default]));
    }
    scope_->variables.insert_or_assign(parameters[i], std::move(value));
  }
  const auto set_implied = [&](std::string_view name, Value value) {
    scope_->variables.insert_or_assign(syntax_.names.find(name)->second, std::move(value));
  };
  if (signature.uses_caller) set_implied("caller", std::move(caller));
  if (signature.uses_more_positional) {
    HLWQ_TRY_ASSIGN(Value tuple, runtime_.sequence(more, Sequence::Flavor::kTuple));
    set_implied("varargs", std::move(tuple));
  }
  if (signature.uses_more_named) {
    HLWQ_TRY_ASSIGN(Value dict, runtime_.dict(std::move(more_named)));
    set_implied("kwargs", std::move(dict));
  }
  return {};
}

}  // namespace hlwq::jinja
