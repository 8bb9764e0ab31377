#pragma once
// The `pre_tokenizer` of tokenizer.json: cuts text into the pieces that BPE merges separately.

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/pattern.h"

namespace hlwq {

class PreTokenizer {
 public:
  // A chain of Split (pattern Regex or String, behavior Isolated) and Digits that ends in
  // ByteLevel.
  // `json` is the value of the field, `where` the file's name for messages.
  // Errors: kUnsupported for other kinds and for a chain without ByteLevel at its end; kBadHeader.
  static Result<PreTokenizer> from_json(const nlohmann::json& json, std::string_view where);

  using Sink = std::function<void(std::string_view piece)>;

  // Calls `sink` with each piece of well-formed UTF-8 `text`, in order. Pieces are never empty and
  // together are the text, plus the spaces that `add_prefix_space` puts in front; a piece is valid
  // during its call only.
  // Errors: kBadValue when a pattern takes too many steps.
  [[nodiscard]] Status split(std::string_view text, PatternScratch& scratch,
                             const Sink& sink) const;

 private:
  struct Stage {
    bool prefix_space = false;       // before the pattern is applied
    std::optional<Pattern> pattern;  // matches and what is between them are pieces
    std::string place;               // for messages
  };
  PreTokenizer() = default;
  [[nodiscard]] Status add_stage(const nlohmann::json& json, const std::string& place);
  [[nodiscard]] Status add_split(const nlohmann::json& json, const std::string& place);
  [[nodiscard]] Status add_digits(const nlohmann::json& json, const std::string& place);
  [[nodiscard]] Status add_byte_level(const nlohmann::json& json, const std::string& place);
  [[nodiscard]] Status run_stage(size_t index, std::string_view text, PatternScratch& scratch,
                                 const Sink& sink) const;
  [[nodiscard]] Status run_pattern(size_t index, std::string_view text, PatternScratch& scratch,
                                   const Sink& sink) const;

  std::vector<Stage> stages_;
  bool byte_level_ = false;
};

}  // namespace hlwq
