#pragma once
// A parsed template. Immutable once parsed, and shared by the threads that render it.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/arguments.h"
#include "text/jinja/operators.h"
#include "text/jinja/value.h"

namespace hlwq::jinja {

using NameId = uint32_t;  // of a variable; see Syntax::names

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr more_positional;  // *x
  ExpressionPtr more_named;       // **x
};

struct Expression {
  enum class Kind {
    kConstant,
    kName,
    kBlockText,  // what the enclosing filter or set block holds
    kTuple,      // operands
    kList,       // operands
    kDict,       // operands: key, value, key, value ...
    kNot,
    kNegate,
    kPlus,
    kAnd,
    kOr,
    kArithmetic,   // two operands, operators[0]
    kCompare,      // a < b < c: one operand more than operators
    kConcatenate,  // operands, with ~ between
    kConditional,  // value, condition, and else's value or nothing
    kAttribute,    // operand.text
    kItem,         // operand[operand]
    kSlice,        // operand[operand:operand:operand], the last three null if not given
    kCall,
    kFilter,
    kTest,
  };
  Kind kind = Kind::kConstant;
  int line = 1;
  int height = 1;
  Value constant;
  NameId name = 0;
  std::string text;
  std::vector<Operator> operators;
  std::vector<ExpressionPtr> operands;
  CallArguments arguments;
  Native filter = nullptr;
  NativeTest test = nullptr;
};

// What is assigned to: a name, an attribute of a namespace, or several of these.
struct Target {
  enum class Kind { kName, kAttribute, kSeveral };
  Kind kind = Kind::kName;
  NameId name = 0;
  std::string attribute;
  std::vector<Target> parts;
};

struct Statement;
using Block = std::vector<Statement>;

// What a macro or a call block takes.
struct Signature {
  std::string name;  // for messages
  std::vector<NameId> parameters;
  std::vector<ExpressionPtr> defaults;  // of the last parameters
  bool uses_caller = false;
  bool uses_more_positional = false;  // mentions varargs
  bool uses_more_named = false;       // mentions kwargs
};

struct Statement {
  enum class Kind {
    kData,         // text
    kOutput,       // value
    kIf,           // branches; the one of else has no condition
    kFor,          // target, value, condition (the loop's filter), body, otherwise
    kSet,          // target, value
    kSetBlock,     // target, value (on kBlockText), body
    kMacro,        // target.name, signature, body
    kCallBlock,    // value (a kCall), signature of the caller, body
    kFilterBlock,  // value (on kBlockText), body
    kWith,         // branches: values of targets; body
    kScope,        // body
    kBreak,
    kContinue,
  };
  struct Branch {
    ExpressionPtr condition;
    Target target;
    Block body;
  };
  Kind kind = Kind::kData;
  int line = 1;
  std::string text;
  Target target;
  ExpressionPtr value;
  ExpressionPtr condition;
  std::vector<Branch> branches;
  Signature signature;
  Block body;
  Block otherwise;
};

struct Syntax {
  Block body;
  std::map<std::string, NameId, std::less<>> names;
  std::vector<std::string> spelling;  // of each name
  std::vector<Native> globals;        // of each name; null if it is none
  std::vector<bool> is_read;          // whether an expression mentions it
};

}  // namespace hlwq::jinja
