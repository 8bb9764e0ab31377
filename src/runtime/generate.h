#pragma once
// What a request asks for and gets, and the simplest way to it: one request from prompt to finished
// text. Many side by side: scheduler.h.

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/logit_edits.h"
#include "runtime/sampler.h"
#include "runtime/session.h"
#include "runtime/token_logprobs.h"

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
  kStop,       // a stop id or a stop string, or a constraint that was fulfilled
  kLength,     // max_tokens
  kContext,    // the context is full
  kCancelled,  // by the callback or the cancel flag
};
[[nodiscard]] std::string_view name_of(FinishReason reason);  // "stop", "length", ...

// What a step adds to an answer.
struct Piece {
  int32_t id = -1;                          // -1: text that was held back, at the end
  std::string_view text = {};               // that is certain now; may be empty
  const TokenLogprobs* logprobs = nullptr;  // when asked for
};

struct GenerateSettings {
  int64_t max_tokens = 128;
  SamplerSettings sampler = {};
  LogitEdits edits = LogitEdits();
  int64_t logprobs = -1;  // the chosen token's and so many of the most likely; -1: none
  std::vector<int32_t> stop_ids = {};
  std::vector<std::string> stop_strings = {};  // none empty; they need `text`
  // Prompt lengths after which what was computed is worth keeping for other prompts (where turns
  // end); ascending.
  std::vector<int64_t> anchors = {};

  // These must outlive the request; null: none.
  TokenText* text = nullptr;                  // null: ids only
  TokenConstraint* constraint = nullptr;      // stop ids are its own matter
  const std::atomic<bool>* cancel = nullptr;  // looked at between steps

  std::function<bool(const Piece&)> on_piece = {};  // false cancels; may be empty
};

struct Generated {
  std::vector<int32_t> ids;  // chosen ones; a stop id is the last of them
  std::string text;          // without stop string and stop id
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of them: taken from the prefix cache
  double wait_seconds = 0;    // until a sequence was free
  double prompt_seconds = 0;  // from then until the first token
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
