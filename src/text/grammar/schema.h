#pragma once
// JSON schemas as grammars: what the grammar generates is valid, as JSON and by the schema.
//
// Known: type, nullable, enum, const, properties, required, additionalProperties, items,
// prefixItems (or items as a list, with additionalItems), minItems, maxItems, minLength, maxLength,
// pattern, format (date, time, date-time, uuid, email, ipv4; others are annotations), minimum,
// maximum, exclusiveMinimum, exclusiveMaximum, anyOf, oneOf, allOf, $ref within the document.
// Other keywords that constrain are refused; annotations and unknown keywords are ignored.
//
// Where the grammar takes less than the schema does:
// - Properties come in the schema's order, those it only requires after them, further ones last.
//   Further ones differ from the named, but are not kept from repeating each other.
// - Keywords of one type imply that type where none is given.
// - oneOf is read as anyOf; allOf, $ref and anyOf with keywords beside them are merged.
// - White space is bounded (json_nodes.h), so are digits (number_nodes.h) and nesting.
// - Numbers of enum and const are written as the schema writes them.
// An enum takes no pattern, properties or items beside it, and a pattern or format is refused with
// a length that it does not keep by itself.

#include <cstddef>
#include <nlohmann/json_fwd.hpp>

#include "text/grammar/grammar.h"

namespace hlwq {

struct SchemaLimits {
  size_t values = 1u << 16;      // JSON values in a schema
  size_t text_bytes = 1u << 20;  // of its strings and keys
  int depth = 128;
  size_t properties = 1024;  // of one object
  size_t work = 1u << 17;    // subschemas read, each time it is read
  GrammarLimits grammar = {};
};

// Errors: kUnsupported for a keyword that is not known or a limit, kInvalidArgument for a schema
// that is malformed or contradicts itself (its message: "schema: #/json/pointer: ...").
[[nodiscard]] Result<Grammar> compile_json_schema(const nlohmann::ordered_json& schema,
                                                  const SchemaLimits& limits = {});

// Any JSON object, nested as deeply as GrammarLimits allows.
[[nodiscard]] Result<Grammar> json_object_grammar();

}  // namespace hlwq
