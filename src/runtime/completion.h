#pragma once
// The answer to one prompt as it grows, token by token: sampling settings, text, stop strings, and
// why it ends. It knows no sequences and no steps.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/generate.h"
#include "runtime/stop_matcher.h"

namespace hlwq {

class Completion {
 public:
  Completion(std::vector<int32_t> prompt, GenerateSettings settings, int64_t vocabulary);

  [[nodiscard]] const GenerateSettings& settings() const { return settings_; }
  [[nodiscard]] std::span<const int32_t> ids() const { return ids_; }  // prompt and answer
  [[nodiscard]] int64_t prompt_tokens() const { return prompt_tokens_; }
  [[nodiscard]] int64_t generated() const {
    return static_cast<int64_t>(ids_.size()) - prompt_tokens_;
  }
  [[nodiscard]] bool cancelled() const;

  // How the next token is to be drawn. Valid until the next call.
  [[nodiscard]] SampleRow next_row() { return sampler_.row(ids_, ids_.size()); }
  // Whether the row of logits has to come to the host first.
  [[nodiscard]] bool looks_at_logits() const {
    return settings_.logprobs >= 0 || settings_.edits.any();
  }
  void edit(std::span<float> row) const { apply_edits(settings_.edits, counts_, row); }

  // Takes the next token and hands out what it makes certain. Returns why the answer ends with it,
  // if it does. Errors: kBadValue (the constraint cannot go on).
  [[nodiscard]] Result<std::optional<FinishReason>> append(int32_t id,
                                                           const TokenLogprobs* logprobs);

  // The end, for `reason`: hands out what decoder and matcher still hold. The times are the
  // caller's to fill in.
  [[nodiscard]] Generated finish(FinishReason reason);

 private:
  [[nodiscard]] std::optional<FinishReason> emit(int32_t id, const std::string& text,
                                                 const TokenLogprobs* logprobs);

  GenerateSettings settings_;
  std::vector<int32_t> ids_;
  int64_t prompt_tokens_;
  Sampler sampler_;
  StopMatcher matcher_;
  std::unordered_map<int32_t, int64_t> counts_;  // of generated ids, when penalties want them
  std::string text_;
  bool listening_ = true;  // until the callback says no
};

}  // namespace hlwq
