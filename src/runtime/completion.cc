#include "runtime/completion.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace hlwq {

Completion::Completion(std::vector<int32_t> prompt, GenerateSettings settings, int64_t vocabulary)
    : settings_(std::move(settings)),
      ids_(std::move(prompt)),
      prompt_tokens_(static_cast<int64_t>(ids_.size())),
      sampler_(settings_.sampler, vocabulary),
      matcher_(settings_.stop_strings) {
  HLWQ_CHECK(settings_.stop_strings.empty() || settings_.text != nullptr);
}

bool Completion::cancelled() const {
  return settings_.cancel != nullptr && settings_.cancel->load(std::memory_order_relaxed);
}

std::optional<FinishReason> Completion::emit(int32_t id, const std::string& text,
                                             const TokenLogprobs* logprobs) {
  text_ += text;
  if (settings_.on_piece && listening_ && (id >= 0 || !text.empty()))
    listening_ = settings_.on_piece({.id = id, .text = text, .logprobs = logprobs});
  if (matcher_.matched()) return FinishReason::kStop;
  if (!listening_) return FinishReason::kCancelled;
  return std::nullopt;
}

Result<std::optional<FinishReason>> Completion::append(int32_t id, const TokenLogprobs* logprobs) {
  ids_.push_back(id);
  if (settings_.edits.any()) ++counts_[id];
  const auto& stops = settings_.stop_ids;
  if (std::find(stops.begin(), stops.end(), id) != stops.end()) return FinishReason::kStop;
  if (settings_.constraint != nullptr && !settings_.constraint->accept(id))
    return fail(ErrorCode::kBadValue, "the grammar of the answer became too large to follow");
  const std::string text =
      settings_.text == nullptr ? std::string() : matcher_.push(settings_.text->append(id));
  if (const auto reason = emit(id, text, logprobs)) return reason;
  if (settings_.constraint != nullptr && settings_.constraint->is_complete())
    return FinishReason::kStop;
  if (generated() >= settings_.max_tokens) return FinishReason::kLength;
  return std::nullopt;
}

Generated Completion::finish(FinishReason reason) {
  if (settings_.text != nullptr && !matcher_.matched()) {
    std::string rest = matcher_.push(settings_.text->finish());
    if (!matcher_.matched()) rest += matcher_.finish();
    if (emit(-1, rest, nullptr) == FinishReason::kStop) reason = FinishReason::kStop;
  }
  Generated out;
  out.ids.assign(ids_.begin() + prompt_tokens_, ids_.end());
  out.text = std::move(text_);
  out.prompt_tokens = prompt_tokens_;
  out.reason = reason;
  return out;
}

}  // namespace hlwq
