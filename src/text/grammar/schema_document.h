#pragma once
// A JSON schema as a document: its subschemas, where they are, and what refers to them.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/grammar/schema.h"

namespace hlwq {

using SchemaJson = nlohmann::ordered_json;

// A value of a document and where it is; borrowed from the document and its JSON.
struct SchemaPart {
  const SchemaJson* json = nullptr;
  uint32_t place = 0;
};

class SchemaDocument {
 public:
  // `name` begins messages. Borrows `root`. Errors: kUnsupported for limits, kInvalidArgument for
  // text that is not UTF-8.
  static Result<SchemaDocument> read(const SchemaJson& root, std::string name,
                                     const SchemaLimits& limits);

  [[nodiscard]] SchemaPart root() const { return {root_, 0}; }
  // A member of an object; no JSON when there is none.
  [[nodiscard]] SchemaPart member(SchemaPart part, std::string_view key);
  [[nodiscard]] std::vector<SchemaPart> elements(SchemaPart array);
  struct Member {
    std::string_view key;
    SchemaPart part;
  };
  [[nodiscard]] std::vector<Member> members(SchemaPart object);
  // What "#", "#/json/pointer" means. Errors: kUnsupported for references out of the document or
  // by name, kInvalidArgument when nothing is there; they name `at`.
  [[nodiscard]] Result<SchemaPart> resolve(SchemaPart at, std::string_view reference);

  // "name: #/pointer: message"; `keyword` extends the pointer.
  [[nodiscard]] tl::unexpected<Error> refuse(ErrorCode code, SchemaPart at,
                                             std::string_view keyword,
                                             std::string_view message) const;

 private:
  struct Place {
    uint32_t parent = 0;
    std::string_view key;  // in the JSON; without it an index
    size_t index = 0;
  };
  SchemaDocument(const SchemaJson& root, std::string name)
      : root_(&root), name_(std::move(name)), places_(1) {}
  uint32_t place(uint32_t parent, std::string_view key, size_t index);
  [[nodiscard]] std::string pointer(uint32_t place) const;

  const SchemaJson* root_;
  std::string name_;
  std::vector<Place> places_;
};

}  // namespace hlwq
