#pragma once
// Prompts for models whose chat template is plain ChatML. Other templates are refused: guessing one
// gives a model that answers worse without saying why.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace hlwq {

struct ChatMessage {
  std::string role;     // "system", "user", "assistant", ...
  std::string content;  // may hold anything; never becomes a control token
};

struct PromptSegment {
  std::string text;
  bool is_control = false;  // exactly one added token; else plain text
  bool operator==(const PromptSegment&) const = default;
};

// Errors: kUnsupported unless `chat_template` is the plain ChatML one: BOS, then for each message
// <|im_start|>ROLE\nCONTENT<|im_end|>\n, then, when asked, <|im_start|>assistant\n.
[[nodiscard]] Status check_chatml_template(std::string_view chat_template);

// The segments of that template. An empty `bos` gives none.
[[nodiscard]] std::vector<PromptSegment> render_chatml(std::span<const ChatMessage> messages,
                                                       std::string_view bos,
                                                       bool add_generation_prompt);

// Ids of a rendered prompt, without what the post-processor adds (the template writes BOS itself).
// Errors: kUnsupported when the tokenizer lacks a control token; those of Tokenizer::encode.
[[nodiscard]] Result<std::vector<int32_t>> encode_prompt(const Tokenizer& tokenizer,
                                                         std::span<const PromptSegment> segments);

}  // namespace hlwq
