#include "runtime/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/check.h"
#include "runtime/stop_matcher.h"

namespace hlwq {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double rate(int64_t tokens, double seconds) {
  return tokens > 0 && seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0;
}

// Closes the sequence however the request ends.
class OpenSequence {
 public:
  OpenSequence(Session& session, int64_t slot) : session_(session), slot_(slot) {}
  ~OpenSequence() { session_.close(slot_); }
  OpenSequence(const OpenSequence&) = delete;
  OpenSequence& operator=(const OpenSequence&) = delete;

 private:
  Session& session_;
  int64_t slot_;
};

// The way of an id to the caller: decoder, stop strings, callback.
class TextStream {
 public:
  TextStream(const GenerateSettings& settings, Generated& out)
      : settings_(settings), out_(out), matcher_(settings.stop_strings) {}

  // Why generation ends with this id, if it does.
  std::optional<FinishReason> append(int32_t id) {
    if (settings_.text == nullptr) return std::nullopt;
    return emit(matcher_.push(settings_.text->append(id)));
  }

  // Hands out what decoder and matcher still hold. Not after a stop string.
  std::optional<FinishReason> finish() {
    if (settings_.text == nullptr || matcher_.matched()) return std::nullopt;
    std::string rest = matcher_.push(settings_.text->finish());
    if (!matcher_.matched()) rest += matcher_.finish();
    return emit(rest);
  }

 private:
  std::optional<FinishReason> emit(const std::string& certain) {
    out_.text += certain;
    if (!certain.empty() && settings_.on_text && listening_)
      listening_ = settings_.on_text(certain);
    if (matcher_.matched()) return FinishReason::kStop;
    if (!listening_) return FinishReason::kCancelled;
    return std::nullopt;
  }

  const GenerateSettings& settings_;
  Generated& out_;
  StopMatcher matcher_;
  bool listening_ = true;  // until the callback says no
};

}  // namespace

std::string_view name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContext:
      return "context";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

double Generated::prompt_rate() const { return rate(prompt_tokens, prompt_seconds); }
double Generated::decode_rate() const { return rate(decode_steps, decode_seconds); }

Result<Generated> generate(Session& session, std::span<const int32_t> prompt,
                           const GenerateSettings& settings) {
  HLWQ_CHECK(settings.stop_strings.empty() || settings.text != nullptr);
  if (prompt.empty()) return fail(ErrorCode::kInvalidArgument, "the prompt has no tokens");
  const int64_t prompt_tokens = static_cast<int64_t>(prompt.size());
  if (prompt_tokens > session.context())
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the prompt has {} tokens, the context holds {}: raise --context",
                            prompt_tokens, session.context()));
  HLWQ_TRY_ASSIGN(const int64_t slot, session.open());
  const OpenSequence open(session, slot);
  HLWQ_TRY_ASSIGN(const Buffer buffer, session.allocate_logits(1));
  const MutF32View logits = dense(buffer.as<float>().data(), 1, session.vocabulary());

  Generated out;
  out.prompt_tokens = prompt_tokens;
  out.reason = FinishReason::kLength;
  TextStream stream(settings, out);
  Sampler sampler(settings.sampler, session.vocabulary());
  std::vector<int32_t> sequence(prompt.begin(), prompt.end());
  const auto next_row = [&] { return sampler.row(sequence, sequence.size()); };

  const Clock::time_point prompt_start = Clock::now();
  const SequenceInput whole = {slot, prompt};
  const Status prefilled = session.prefill({&whole, 1}, logits, settings.cancel);
  if (!prefilled && prefilled.error().code != ErrorCode::kCancelled)
    return tl::unexpected(prefilled.error());
  if (!prefilled) {
    out.prompt_seconds = seconds_since(prompt_start);
    out.reason = FinishReason::kCancelled;
    return out;
  }
  int32_t id = -1;  // chosen, not yet handed out
  if (settings.max_tokens > 0) {
    const SampleRow row = next_row();
    HLWQ_TRY(session.sample(logits, {&row, 1}, {&id, 1}));
  }
  out.prompt_seconds = seconds_since(prompt_start);

  const Clock::time_point decode_start = Clock::now();
  while (static_cast<int64_t>(out.ids.size()) < settings.max_tokens) {
    if (settings.cancel != nullptr && settings.cancel->load(std::memory_order_relaxed)) {
      out.reason = FinishReason::kCancelled;
      break;
    }
    sequence.push_back(id);
    out.ids.push_back(id);
    if (std::find(settings.stop_ids.begin(), settings.stop_ids.end(), id) !=
        settings.stop_ids.end()) {
      out.reason = FinishReason::kStop;
      break;
    }
    if (const auto reason = stream.append(id)) {
      out.reason = *reason;
      break;
    }
    if (static_cast<int64_t>(out.ids.size()) >= settings.max_tokens) break;
    if (session.position(slot) == session.context()) {
      out.reason = FinishReason::kContext;
      break;
    }
    const SequenceInput last = {slot, {&sequence.back(), 1}};
    const SampleRow row = next_row();
    HLWQ_TRY(session.decode({&last, 1}, {&row, 1}, logits, {&id, 1}));
    ++out.decode_steps;
  }
  out.decode_seconds = out.decode_steps > 0 ? seconds_since(decode_start) : 0.0;
  if (const auto reason = stream.finish(); reason == FinishReason::kStop) out.reason = *reason;
  return out;
}

}  // namespace hlwq
