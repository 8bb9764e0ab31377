#pragma once
// The pieces that JSON text is made of, as grammar nodes.
//
// White space is free but bounded: after "{", "[", "," and ":" and before "}" and "]" there may be
// nothing, one space, or a line feed and up to 16 spaces or tabs.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/grammar/characters.h"
#include "text/grammar/grammar.h"

namespace hlwq {

// Each piece is made when first asked for. Borrows the builder.
class JsonNodes {
 public:
  explicit JsonNodes(GrammarBuilder& builder) : builder_(builder), characters_(builder) {}
  JsonNodes(const JsonNodes&) = delete;
  JsonNodes& operator=(const JsonNodes&) = delete;

  [[nodiscard]] Characters& characters() { return characters_; }
  GrammarNode gap();
  GrammarNode any_value();
  GrammarNode any_object();
  GrammarNode any_array();
  // With quotes; the lengths in code points.
  GrammarNode string(uint32_t least = 0, uint32_t most = kUnlimited);
  // This string with quotes, as Python's json.dumps writes it with ensure_ascii or without.
  GrammarNode text(std::string_view value);
  // Any string with quotes but these.
  GrammarNode string_but(std::span<const std::string> names);
  // This value; strings as by `text`. Errors: kUnsupported when it is nested too deeply.
  Result<GrammarNode> constant(const nlohmann::ordered_json& value);
  // One of these values; what is not an array or an object is matched letter by letter.
  Result<GrammarNode> one_of(const std::vector<const nlohmann::ordered_json*>& values);

  // `least` to `most` of `item` in brackets.
  GrammarNode array(GrammarNode item, uint32_t least, uint32_t most);

 private:
  Result<GrammarNode> constant_at(const nlohmann::ordered_json& value, int depth);

  GrammarBuilder& builder_;
  Characters characters_;
  std::optional<GrammarNode> gap_, any_value_, any_object_, any_array_;
};

}  // namespace hlwq
