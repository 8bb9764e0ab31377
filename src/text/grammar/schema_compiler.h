#pragma once
// One JSON schema as nodes of a builder. A value must satisfy several schemas at a time (allOf,
// $ref beside other keywords, a property that two of them name), so what is compiled is always a
// list of schemas; each distinct list becomes one rule, which also makes recursive schemas finite.

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "text/grammar/json_nodes.h"
#include "text/grammar/number_nodes.h"
#include "text/grammar/schema_document.h"
#include "text/grammar/schema_keywords.h"

namespace hlwq {

class SchemaCompiler {
 public:
  // Ends a parameter's value in ToolFormat::kXml.
  static constexpr std::string_view kParameterEnd = "\n</parameter>";

  // Borrows all of them. `work` counts against SchemaLimits::work and may be shared.
  SchemaCompiler(GrammarBuilder& builder, JsonNodes& json, SchemaDocument& document,
                 const SchemaLimits& limits, size_t& work)
      : builder_(builder), json_(json), document_(document), limits_(limits), work_(work) {}

  // The schema's values as JSON.
  Result<GrammarNode> json_value();
  // Those of them that are objects.
  Result<GrammarNode> json_object();
  // The members of the schema's objects as parameters: "<parameter=KEY>\n", the value,
  // "\n</parameter>\n". Strings stand as they are, other values as JSON. Parameters that the schema
  // does not name are left out. Errors also: kUnsupported for a name with "<", ">" or a control
  // character, and for anyOf of objects.
  Result<GrammarNode> parameters();

 private:
  // kParameter: with kParameterEnd and a line feed after it.
  enum class ValueForm { kJson, kParameter };
  struct Constraint {
    SchemaPart part;
    size_t origin;  // the constraint that brought this one in; its own index if none did
  };
  // What holds for one value, with references and allOf followed.
  struct Conjunction {
    std::vector<Constraint> constraints;
    size_t keys = 0;
  };
  struct Pending {
    GrammarNode rule;
    std::vector<SchemaPart> parts;
    ValueForm form;
  };
  struct Property {
    std::string_view name;
    std::vector<SchemaPart> parts;
    bool is_required = false;
    bool is_forbidden = false;  // its schema is false
  };
  struct ObjectShape {
    std::vector<Property> properties;
    bool has_more = true;
    std::vector<SchemaPart> more_parts;
    uint32_t least = 0;
    uint32_t most = kUnlimited;
    size_t required = 0;
  };
  struct ArrayShape {
    std::vector<std::vector<SchemaPart>> prefix;
    std::vector<SchemaPart> rest;
    uint32_t least = 0;
    uint32_t most = kUnlimited;
  };

  // The rule of values that satisfy all of `parts`; its body comes with run().
  GrammarNode value(const std::vector<SchemaPart>& parts, ValueForm form);
  Status run();
  Result<GrammarNode> body(const Pending& pending);
  std::optional<SchemaPart> only_keyword(SchemaPart schema, std::string_view& keyword);

  Status spend(size_t work, SchemaPart at);
  Status add(Conjunction& all, SchemaPart part, std::optional<size_t> origin);
  Status follow(Conjunction& all, size_t from);
  Result<Conjunction> conjunction(const std::vector<SchemaPart>& parts);
  // Chooses among the branches of every anyOf and oneOf from constraint `at` / 2 on.
  Result<GrammarNode> branches(const Conjunction& all, size_t at, ValueForm form, int depth);
  Result<GrammarNode> typed(const Conjunction& all, ValueForm form);
  [[nodiscard]] SchemaTypes types_of(const Conjunction& all) const;
  GrammarNode any(ValueForm form);
  GrammarNode finish(GrammarNode node, ValueForm form);

  // No value can satisfy the schemas.
  tl::unexpected<Error> contradiction(SchemaPart at, std::string_view keyword,
                                      std::string_view message);
  // The largest value of a count, and the least one; 0 and kUnlimited without one. Errors:
  // contradiction, kUnsupported for a least that is out of reach.
  struct Counts {
    uint32_t least = 0;
    uint32_t most = kUnlimited;
  };
  Result<Counts> counts(const Conjunction& all, std::string_view least_keyword,
                        std::string_view most_keyword);

  // schema_scalars.cc
  Result<GrammarNode> string(const Conjunction& all, ValueForm form);
  Result<NumberRange> range(const Conjunction& all);
  Result<GrammarNode> integer(const Conjunction& all);
  Result<GrammarNode> number(const Conjunction& all);
  std::optional<SchemaPart> find_choice(const Conjunction& all);
  Result<std::vector<const SchemaJson*>> choices(const Conjunction& all, SchemaPart from);
  Result<GrammarNode> one_of(const Conjunction& all, SchemaPart from, ValueForm form);

  // schema_containers.cc
  Result<ArrayShape> array_shape(const Conjunction& all);
  Result<GrammarNode> array(const Conjunction& all);
  Result<ObjectShape> object_shape(const Conjunction& all);
  Result<GrammarNode> object(const Conjunction& all);
  Result<GrammarNode> members(const ObjectShape& shape, SchemaPart at);

  GrammarBuilder& builder_;
  JsonNodes& json_;
  SchemaDocument& document_;
  const SchemaLimits& limits_;
  size_t& work_;
  std::map<std::pair<ValueForm, std::vector<const SchemaJson*>>, GrammarNode> rules_;
  std::vector<Pending> pending_;
  bool is_contradiction_ = false;  // what the error that is on its way is
};

}  // namespace hlwq
