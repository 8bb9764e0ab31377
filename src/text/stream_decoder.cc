#include "text/stream_decoder.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"

namespace hlwq {
namespace {

// Bytes at the end of `bytes` that may become a character with what follows.
size_t incomplete_tail(std::string_view bytes) {
  for (size_t tail = 1; tail <= std::min<size_t>(3, bytes.size()); ++tail) {
    const Utf8Step step = step_utf8(bytes.substr(bytes.size() - tail));
    if (step.kind == Utf8Step::Kind::kIncomplete) return tail;
  }
  return 0;
}

}  // namespace

std::string StreamDecoder::push(int32_t id) {
  if (skip_special_ && tokenizer_->is_special(id) &&
      std::find(shown_.begin(), shown_.end(), id) == shown_.end())
    return {};
  held_ += tokenizer_->bytes(id);
  const size_t ready = held_.size() - incomplete_tail(held_);
  std::string text;
  append_replacing_invalid(std::string_view(held_).substr(0, ready), text);
  held_.erase(0, ready);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  append_replacing_invalid(std::exchange(held_, {}), text);
  return text;
}

}  // namespace hlwq
