// Engine::logits: token ids in, logits out, with the steps cut as asked.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "api/engine_impl.h"
#include "base/check.h"
#include "ops/host_rows.h"

namespace hlwq {
namespace {

Status check_request(const LogitsRequest& request, int64_t step_tokens) {
  const int64_t count = static_cast<int64_t>(request.ids.size());
  if (count == 0) return fail(ErrorCode::kInvalidArgument, "no token ids");
  if (request.prefill && (*request.prefill < 0 || *request.prefill > count))
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--prefill: got {}, wanted 0 to {}, the number of ids",
                            *request.prefill, count));
  if (request.top < 0)
    return fail(ErrorCode::kInvalidArgument, fmt::format("--top: got {}", request.top));
  if (request.chunk < 1 || request.batch < 1 || request.batch > step_tokens ||
      request.chunk > step_tokens / request.batch)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--chunk {} and --batch {}: a step takes at most {} tokens",
                            request.chunk, request.batch, step_tokens));
  return {};
}

// The `count` largest, falling, ties by id; NaN counts as minus infinity.
PositionLogits top_of(std::span<const float> row, int64_t position, int64_t count) {
  const auto value = [&](int32_t id) {
    const float x = row[static_cast<size_t>(id)];
    return std::isnan(x) ? -std::numeric_limits<float>::infinity() : x;
  };
  std::vector<int32_t> order(row.size());
  std::iota(order.begin(), order.end(), 0);
  const auto last = order.begin() + std::min<int64_t>(count, static_cast<int64_t>(order.size()));
  std::partial_sort(order.begin(), last, order.end(), [&](int32_t a, int32_t b) {
    return value(a) > value(b) || (value(a) == value(b) && a < b);
  });
  order.erase(last, order.end());
  PositionLogits top = {.position = position, .top_ids = std::move(order), .top_logits = {}};
  for (const int32_t id : top.top_ids) top.top_logits.push_back(row[static_cast<size_t>(id)]);
  return top;
}

}  // namespace

Result<LogitsResult> Engine::Impl::logits(const LogitsRequest& request) {
  HLWQ_TRY(check_request(request, step_tokens));
  const int64_t count = static_cast<int64_t>(request.ids.size());
  if (count > info.context)
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{} ids do not fit the context of {}: raise --context", count, info.context));
  const int64_t prefill = request.prefill.value_or(count);
  const int64_t batch = request.batch;
  const int64_t vocabulary = model->config().vocabulary;
  HLWQ_TRY_ASSIGN(
      auto sequences,
      Session::create(
          *backend, *model,
          {.sequences = batch, .context = count, .kv = kv, .prefill_chunk = request.chunk}));
  const int64_t widest = std::min(request.chunk, std::max<int64_t>(prefill, 1));
  const int64_t rows = request.all ? batch * widest : batch;
  HLWQ_TRY_ASSIGN(const Buffer buffer, sequences.allocate_logits(rows));
  const MutF32View logits = dense(buffer.as<float>().data(), rows, vocabulary);
  HostRows host_rows;
  F32View readable;
  const auto row = [&](int64_t r) {
    return std::span<const float>(readable.row(r), static_cast<size_t>(vocabulary));
  };

  std::vector<SequenceInput> inputs(static_cast<size_t>(batch));
  for (SequenceInput& input : inputs) {
    HLWQ_TRY_ASSIGN(input.slot, sequences.open());
  }
  LogitsResult result;
  for (int64_t begin = 0; begin < count;) {
    const int64_t tokens = begin < prefill ? std::min(request.chunk, prefill - begin) : 1;
    for (SequenceInput& input : inputs)
      input.ids =
          std::span(request.ids).subspan(static_cast<size_t>(begin), static_cast<size_t>(tokens));
    const bool is_last = begin + tokens == count;
    const LogitRows wanted = request.all ? LogitRows::kAll
                             : is_last   ? LogitRows::kLast
                                         : LogitRows::kNone;
    HLWQ_TRY(sequences.step(inputs, wanted, logits));
    const int64_t each = request.all ? tokens : 1;  // rows of one copy
    if (wanted != LogitRows::kNone) {
      F32View written = logits;
      written.rows = batch * each;
      readable = host_rows.read(*backend, written);
    }
    if (request.all)
      for (int64_t t = 0; t < tokens; ++t)
        result.positions.push_back(top_of(row(t), begin + t, request.top));
    if (is_last) {
      const std::span<const float> last = row(each - 1);
      if (!request.all) result.positions.push_back(top_of(last, count - 1, request.top));
      result.last.assign(last.begin(), last.end());
      for (int64_t copy = 1; copy < batch; ++copy)
        result.copies_equal =
            result.copies_equal &&
            std::memcmp(row(copy * each + each - 1).data(), last.data(), last.size_bytes()) == 0;
    }
    begin += tokens;
  }
  return result;
}

}  // namespace hlwq
