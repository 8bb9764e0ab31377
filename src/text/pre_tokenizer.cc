#include "text/pre_tokenizer.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "io/printable.h"
#include "text/json_fields.h"

namespace hlwq {
namespace {

using Json = nlohmann::json;

// What ByteLevel splits by. Source: Radford et al. 2019, encoder.py.
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// What Digits isolates: numbers of every script.
constexpr std::string_view kDigit = R"(\p{N})", kDigits = R"(\p{N}+)";

constexpr size_t kMostStages = 16;  // real files have up to four

}  // namespace

Result<PreTokenizer> PreTokenizer::from_json(const Json& json, std::string_view where) {
  PreTokenizer result;
  const std::string place = fmt::format("{}: pre_tokenizer", where);
  HLWQ_TRY(result.add_stage(json, place));
  if (!result.byte_level_) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{}: only byte-level tokenizers are supported, and no ByteLevel is here",
                    place));
  }
  return result;
}

Status PreTokenizer::add_stage(const Json& json, const std::string& place) {
  HLWQ_TRY_ASSIGN(const std::string type, string_member(json, "type", place));
  if (type == "Sequence") {
    HLWQ_TRY_ASSIGN(const Json* list, array_member(json, "pretokenizers", place));
    for (size_t i = 0; i < list->size(); ++i) {
      HLWQ_TRY(add_stage((*list)[i], fmt::format("{}.pretokenizers[{}]", place, i)));
    }
    return {};
  }
  if (byte_level_) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: {} after ByteLevel is not supported", place, printable(type)));
  }
  if (stages_.size() == kMostStages) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: more than {} steps are not supported", place, kMostStages));
  }
  if (type == "Split") return add_split(json, place);
  if (type == "Digits") return add_digits(json, place);
  if (type == "ByteLevel") return add_byte_level(json, place);
  return fail(
      ErrorCode::kUnsupported,
      fmt::format("{}: type {} is not supported (Split, Digits, ByteLevel and Sequence are)", place,
                  printable(type)));
}

Status PreTokenizer::add_split(const Json& json, const std::string& place) {
  HLWQ_TRY_ASSIGN(const std::string behavior, string_member(json, "behavior", place));
  if (behavior != "Isolated") {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{}.behavior: {} is not supported (Isolated is)", place, printable(behavior)));
  }
  // `invert` swaps matches and gaps, which Isolated treats alike; only its type matters.
  HLWQ_TRY(bool_member(json, "invert", false, place));
  HLWQ_TRY_ASSIGN(const Json* pattern, object_member(json, "pattern", place));
  const std::string pattern_place = place + ".pattern";
  Stage stage;
  stage.place = pattern_place;
  if (pattern->contains("Regex")) {
    HLWQ_TRY_ASSIGN(const std::string regex, string_member(*pattern, "Regex", pattern_place));
    HLWQ_TRY_ASSIGN(stage.pattern, Pattern::compile(regex, pattern_place));
  } else {
    HLWQ_TRY_ASSIGN(const std::string literal, string_member(*pattern, "String", pattern_place));
    HLWQ_TRY_ASSIGN(stage.pattern, Pattern::compile_literal(literal, pattern_place));
  }
  stages_.push_back(std::move(stage));
  return {};
}

Status PreTokenizer::add_digits(const Json& json, const std::string& place) {
  HLWQ_TRY_ASSIGN(const bool individual, bool_member(json, "individual_digits", false, place));
  Stage stage;
  stage.place = place;
  HLWQ_TRY_ASSIGN(stage.pattern, Pattern::compile(individual ? kDigit : kDigits, place));
  stages_.push_back(std::move(stage));
  return {};
}

Status PreTokenizer::add_byte_level(const Json& json, const std::string& place) {
  Stage stage;
  stage.place = place;
  HLWQ_TRY_ASSIGN(stage.prefix_space, bool_member(json, "add_prefix_space", true, place));
  HLWQ_TRY_ASSIGN(const bool use_regex, bool_member(json, "use_regex", true, place));
  if (use_regex) {
    HLWQ_TRY_ASSIGN(stage.pattern, Pattern::compile(kGpt2Pattern, place));
  }
  byte_level_ = true;
  if (stage.prefix_space || stage.pattern) stages_.push_back(std::move(stage));
  return {};
}

Status PreTokenizer::split(std::string_view text, PatternScratch& scratch, const Sink& sink) const {
  return run_stage(0, text, scratch, sink);
}

Status PreTokenizer::run_stage(size_t index, std::string_view text, PatternScratch& scratch,
                               const Sink& sink) const {
  if (text.empty()) return {};
  if (index == stages_.size()) {
    sink(text);
    return {};
  }
  if (stages_[index].prefix_space && text.front() != ' ') {
    return run_pattern(index, fmt::format(" {}", text), scratch, sink);
  }
  return run_pattern(index, text, scratch, sink);
}

Status PreTokenizer::run_pattern(size_t index, std::string_view text, PatternScratch& scratch,
                                 const Sink& sink) const {
  const Stage& stage = stages_[index];
  if (!stage.pattern) return run_stage(index + 1, text, scratch, sink);
  const bool last = index + 1 == stages_.size();
  size_t piece_begin = 0;
  const auto emit_until = [&](size_t end) -> Status {
    if (end == piece_begin) return {};
    const std::string_view piece = text.substr(piece_begin, end - piece_begin);
    piece_begin = end;
    if (!last) return run_stage(index + 1, piece, scratch, sink);
    sink(piece);
    return {};
  };
  Pattern::Match match;
  bool gave_up = false;
  for (size_t from = 0; from < text.size();) {
    if (!stage.pattern->find(text, from, scratch, match, gave_up)) {
      if (gave_up) {
        return fail(ErrorCode::kBadValue,
                    fmt::format("{}: matching takes too many steps on this text", stage.place));
      }
      break;
    }
    HLWQ_TRY(emit_until(match.begin));
    HLWQ_TRY(emit_until(match.end));
    // An empty match still cuts there; the search goes on one character later.
    from = match.end;
    if (match.begin == match.end && from < text.size()) {
      from += static_cast<size_t>(step_utf8(text.substr(from)).bytes);
    }
  }
  return emit_until(text.size());
}

}  // namespace hlwq
