#pragma once
// One request from prompt to finished text.

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/sampler.h"
#include "runtime/session.h"

namespace hlwq {

// Turns ids into text as they come. The tokenizer's stream decoder implements it in api, because
// runtime knows no text.
class TokenText {
 public:
  virtual ~TokenText() = default;
  // The text this id completes; may be empty (part of a character, a special token).
  [[nodiscard]] virtual std::string append(int32_t id) = 0;
  // What is left when no id follows (an incomplete character as U+FFFD).
  [[nodiscard]] virtual std::string finish() = 0;
};

enum class FinishReason {
  kStop,       // a stop id or a stop string
  kLength,     // max_tokens
  kContext,    // the context is full
  kCancelled,  // by the callback or the cancel flag
};
[[nodiscard]] std::string_view name_of(FinishReason reason);  // "stop", "length", ...

struct GenerateSettings {
  int64_t max_tokens = 128;
  SamplerSettings sampler = {};
  std::vector<int32_t> stop_ids = {};
  std::vector<std::string> stop_strings = {};                // none empty; they need `text`
  TokenText* text = nullptr;                                 // null: ids only
  std::function<bool(std::string_view piece)> on_text = {};  // false cancels; may be empty
  const std::atomic<bool>* cancel = nullptr;                 // looked at between steps; may be null
};

struct Generated {
  std::vector<int32_t> ids;  // chosen ones; a stop id is the last of them
  std::string text;          // without stop string and stop id
  int64_t prompt_tokens = 0;
  double prompt_seconds = 0;  // until the first token
  double decode_seconds = 0;  // the steps after that
  int64_t decode_steps = 0;
  FinishReason reason = FinishReason::kLength;

  // Tokens a second; 0 when nothing was timed.
  [[nodiscard]] double prompt_rate() const;
  [[nodiscard]] double decode_rate() const;
};

// Continues `prompt` in a sequence of its own, which is closed again. A cancelled request is not an
// error: what it has so far is returned. Errors: kInvalidArgument (empty prompt, a prompt longer
// than the context, an id outside the vocabulary), kBadValue (no usable logit), as Session::step.
[[nodiscard]] Result<Generated> generate(Session& session, std::span<const int32_t> prompt,
                                         const GenerateSettings& settings);

}  // namespace hlwq
