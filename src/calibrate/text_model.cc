#include "calibrate/text_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/float16.h"
#include "ops/host_rows.h"
#include "runtime/session.h"

namespace hlwq {
namespace {

constexpr int64_t kStepTokens = 2048;                // unless a window is more
constexpr int64_t kLogitBytes = int64_t{256} << 20;  // of a step, unless a window's are more

int64_t windows_of_step(int64_t window, int64_t vocabulary) {
  const int64_t logit_bytes = window * vocabulary * static_cast<int64_t>(sizeof(float));
  return std::max<int64_t>(std::min(kStepTokens / window, kLogitBytes / logit_bytes), 1);
}

}  // namespace

TextModel::TextModel(Backend& backend, CalibrationText text)
    : text_(std::move(text)), pool_(std::max(backend.threads(), 1)), watching_(backend, pool_) {}

Result<std::unique_ptr<TextModel>> TextModel::create(const std::string& path, Backend& backend,
                                                     CalibrationText text) {
  if (static_cast<int64_t>(text.ids.size()) < text.window)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: {} tokens, wanted at least a window of {}", text.name,
                            text.ids.size(), text.window));
  text.ids.resize(text.ids.size() / static_cast<size_t>(text.window) *
                  static_cast<size_t>(text.window));
  std::unique_ptr<TextModel> made(new TextModel(backend, std::move(text)));
  const int64_t tokens = std::max(kStepTokens, made->text_.window);
  HLWQ_TRY_ASSIGN(
      made->model_,
      load_model(path, made->watching_,
                 {.limits = {.tokens = tokens, .logit_rows = tokens, .context = made->text_.window},
                  .load_threads = backend.threads(),
                  .placed = [&](const std::string& name, const Matrix& matrix) {
                    made->matrices_.emplace(name, matrix);
                  }}));
  return made;
}

const Matrix* TextModel::find(const std::string& name) const {
  const auto found = matrices_.find(name);
  return found == matrices_.end() ? nullptr : &found->second;
}

Status TextModel::run(int64_t windows, const TakeLogits& take) {
  const int64_t window = text_.window, side_by_side = windows_of_step(window, vocabulary());
  HLWQ_CHECK(windows <= this->windows());
  HLWQ_TRY_ASSIGN(auto session, Session::create(watching_, *model_,
                                                {.sequences = side_by_side,
                                                 .context = window,
                                                 .kv = {.dtype = DType::kF32},
                                                 .prefill_chunk = window}));
  const int64_t rows = side_by_side * window;
  HLWQ_TRY_ASSIGN(Buffer logits, session.allocate_logits(rows));
  HostRows host_rows;
  for (int64_t done = 0; done < windows; done += side_by_side) {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed))
      return fail(ErrorCode::kCancelled, "interrupted");
    const int64_t now = std::min(side_by_side, windows - done);
    std::vector<SequenceInput> inputs;
    for (int64_t w = 0; w < now; ++w) {
      HLWQ_TRY_ASSIGN(const int64_t slot, session.open());
      inputs.push_back(
          {slot, {text_.ids.data() + (done + w) * window, static_cast<size_t>(window)}});
    }
    // Logits are asked for in any case: the head's inputs are looked at too.
    MutF32View out = dense(logits.as<float>().data(), rows, vocabulary());
    HLWQ_TRY(session.step(inputs, LogitRows::kAll, out));
    out.rows = now * window;
    if (take) take(done, host_rows.read(watching_, out));
    for (const SequenceInput& input : inputs) session.close(input.slot);
    if (progress) progress((done + now) * window, windows * window);
  }
  return {};
}

void TextModel::replace_rows(const Matrix& matrix, int64_t first_row, std::span<const float> rows) {
  HLWQ_CHECK(!matrix.coded() && static_cast<int64_t>(rows.size()) % matrix.cols == 0);
  const auto width = static_cast<size_t>(bytes_of(matrix.dtype));
  // The memory is this object's model's, whose matrices are views.
  auto* const to =
      const_cast<std::byte*>(matrix.data) + static_cast<size_t>(first_row * matrix.cols) * width;
  if (matrix.dtype == DType::kF32) return watching_.upload(to, rows.data(), rows.size_bytes());
  std::vector<uint16_t> narrow(rows.size());
  std::ranges::transform(rows, narrow.begin(), [&](float value) {
    return matrix.dtype == DType::kBF16 ? f32_to_bf16(value) : f32_to_f16(value);
  });
  watching_.upload(to, narrow.data(), narrow.size() * sizeof(uint16_t));
}

}  // namespace hlwq
