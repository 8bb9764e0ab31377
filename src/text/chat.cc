#include "text/chat.h"

#include <fmt/format.h>

#include "io/printable.h"

namespace hlwq {
namespace {

constexpr std::string_view kChatmlTemplate =
    "{{- bos_token }}{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";

// A line end in a Jinja string is the escape or the character itself; files have both.
std::string with_escaped_line_ends(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\n') {
      escaped += "\\n";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

constexpr std::string_view kTurnStart = "<|im_start|>";
constexpr std::string_view kTurnEnd = "<|im_end|>";

}  // namespace

Status check_chatml_template(std::string_view chat_template) {
  if (with_escaped_line_ends(chat_template) == kChatmlTemplate) return {};
  return fail(ErrorCode::kUnsupported,
              fmt::format("chat_template ({} bytes) is not the plain ChatML template, the only one "
                          "supported",
                          chat_template.size()));
}

std::vector<PromptSegment> render_chatml(std::span<const ChatMessage> messages,
                                         std::string_view bos, bool add_generation_prompt) {
  std::vector<PromptSegment> segments;
  if (!bos.empty()) segments.push_back({std::string(bos), true});
  const auto start_turn = [&](std::string text) {
    segments.push_back({std::string(kTurnStart), true});
    segments.push_back({std::move(text), false});
  };
  // Role and content are one stretch of text, so that it is cut into pieces as if the whole prompt
  // were one string.
  for (const ChatMessage& message : messages) {
    start_turn(fmt::format("{}\n{}", message.role, message.content));
    segments.push_back({std::string(kTurnEnd), true});
    segments.push_back({"\n", false});
  }
  if (add_generation_prompt) start_turn("assistant\n");
  return segments;
}

Result<std::vector<int32_t>> encode_prompt(const Tokenizer& tokenizer,
                                           std::span<const PromptSegment> segments) {
  std::vector<int32_t> ids;
  for (const PromptSegment& segment : segments) {
    if (segment.is_control) {
      const std::optional<int32_t> id = tokenizer.id_of(segment.text);
      if (!id || !tokenizer.is_added(*id)) {
        return fail(
            ErrorCode::kUnsupported,
            fmt::format("the tokenizer has no control token \"{}\"", printable(segment.text)));
      }
      ids.push_back(*id);
      continue;
    }
    HLWQ_TRY_ASSIGN(const std::vector<int32_t> plain,
                    tokenizer.encode(segment.text, {.add_special = false, .parse_added = false}));
    ids.insert(ids.end(), plain.begin(), plain.end());
  }
  return ids;
}

}  // namespace hlwq
