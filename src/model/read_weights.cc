#include "model/read_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "base/thread_pool.h"
#include "io/printable.h"
#include "quant/layout.h"

namespace hlwq {
namespace {

// Weights one piece of work reads at a time: large enough for the disk, small enough that the
// unpacked codes of every thread fit its share of the cache hierarchy's last level or nearly so.
constexpr int64_t kWeightsPerPiece = int64_t{1} << 21;

enum class Reading { kPlain, kF32, kCodes };

// Consecutive rows of a parameter whose bytes are consecutive too: all of a coded matrix, or some
// rows of a plain one. What is staged and uploaded at once.
struct Part {
  const WeightToRead* weight = nullptr;
  int64_t first_row = 0, rows = 0;
  size_t bytes = 0;
  size_t first_piece = 0, pieces = 0;
  size_t staging_offset = 0;
  std::byte* host = nullptr;  // where it is read to
};

// Rows [first_row, first_row + rows) of a parameter, read by one task.
struct Piece {
  size_t part = 0;
  int64_t first_row = 0, rows = 0;
  uint64_t stored_bytes = 0;
};

Reading reading_of(const WeightToRead& weight) {
  if (weight.matrix.coded()) return Reading::kCodes;
  const CheckpointTensor& stored = *weight.source.stored;
  return stored.coded || stored.dtype != weight.matrix.dtype ? Reading::kF32 : Reading::kPlain;
}

// Index of the first NaN or infinity: all exponent bits set.
template <typename Bits>
std::optional<int64_t> first_non_finite(const std::byte* data, int64_t count, Bits exponent) {
  Bits value;
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(&value, data + static_cast<size_t>(i) * sizeof(Bits), sizeof(Bits));
    if ((value & exponent) == exponent) return i;
  }
  return std::nullopt;
}

std::optional<int64_t> first_non_finite(const std::byte* data, int64_t count, DType dtype) {
  if (dtype == DType::kBF16) return first_non_finite<uint16_t>(data, count, 0x7f80u);
  if (dtype == DType::kF16) return first_non_finite<uint16_t>(data, count, 0x7c00u);
  return first_non_finite<uint32_t>(data, count, 0x7f800000u);
}

Status read_codes(const Part& part, const Piece& piece) {
  const TensorSource& source = part.weight->source;
  const Matrix& matrix = part.weight->matrix;
  const int64_t blocks = matrix.blocks();
  std::vector<uint8_t> codes(static_cast<size_t>(piece.rows * blocks * kBlock));
  std::vector<uint16_t> norms(static_cast<size_t>(piece.rows * blocks));
  HLWQ_TRY(
      source.checkpoint->read_codes(*source.stored, piece.first_row, piece.rows, codes, norms));
  pack_rows(matrix.coded_shape(), piece.first_row, codes, norms, {part.host, part.bytes});
  return {};
}

// Plain values, in their own type or as FP32. A fused tensor's row is a whole expert.
Status read_floats(const Part& part, const Piece& piece, Reading reading) {
  const TensorSource& source = part.weight->source;
  const Matrix& matrix = part.weight->matrix;
  const bool fused = source.slice >= 0;
  const int64_t first = fused ? source.slice : piece.first_row;
  const int64_t rows = fused ? 1 : piece.rows;
  const int64_t count = piece.rows * matrix.cols;
  const auto value_bytes = static_cast<size_t>(bytes_of(matrix.dtype));
  std::byte* const out =
      part.host +
      static_cast<size_t>((piece.first_row - part.first_row) * matrix.cols) * value_bytes;
  const auto values = static_cast<size_t>(count);
  if (reading == Reading::kF32) {
    HLWQ_TRY(source.checkpoint->read_f32(*source.stored, first, rows,
                                         {reinterpret_cast<float*>(out), values}));
  } else {
    HLWQ_TRY(
        source.checkpoint->read_plain(*source.stored, first, rows, {out, values * value_bytes}));
  }
  if (const auto bad = first_non_finite(out, count, matrix.dtype))
    return fail(
        ErrorCode::kBadValue,
        fmt::format("{}: {} has a value that is not finite in row {}", source.checkpoint->path(),
                    printable(source.stored->name), piece.first_row + *bad / matrix.cols));
  return {};
}

// All parts in order and the pieces they are read in.
struct Plan {
  std::vector<Part> parts;
  std::vector<Piece> pieces;
  uint64_t stored_bytes = 0;
};

void add_pieces(Part part, Plan& plan) {
  const TensorSource& source = part.weight->source;
  const Matrix& matrix = part.weight->matrix;
  const bool fused = source.slice >= 0;
  // Whole tiles; a fused tensor is read an expert at a time.
  int64_t step = round_up(std::max<int64_t>(1, kWeightsPerPiece / matrix.cols), kTileRows);
  if (fused) step = part.rows;
  const auto tensor_rows = static_cast<double>(source.stored->shape.front());
  part.first_piece = plan.pieces.size();
  for (int64_t row = 0; row < part.rows; row += step) {
    const int64_t rows = std::min(step, part.rows - row);
    const double share = (fused ? 1.0 : static_cast<double>(rows)) / tensor_rows;
    const auto bytes = static_cast<uint64_t>(
        std::llround(static_cast<double>(source.stored->stored_bytes) * share));
    plan.stored_bytes += bytes;
    plan.pieces.push_back({.part = plan.parts.size(),
                           .first_row = part.first_row + row,
                           .rows = rows,
                           .stored_bytes = bytes});
  }
  part.pieces = plan.pieces.size() - part.first_piece;
  plan.parts.push_back(part);
}

Plan make_plan(const std::vector<WeightToRead>& weights, int64_t most_part_bytes) {
  Plan plan;
  for (const WeightToRead& weight : weights) {
    const Matrix& matrix = weight.matrix;
    const bool whole = matrix.coded() || weight.source.slice >= 0;
    const int64_t row_bytes = matrix.coded() ? 0 : matrix.cols * bytes_of(matrix.dtype);
    const int64_t step =
        whole ? matrix.rows
              : std::max<int64_t>(1, most_part_bytes / std::max<int64_t>(1, row_bytes));
    for (int64_t row = 0; row < matrix.rows; row += step) {
      const int64_t rows = std::min(step, matrix.rows - row);
      const size_t bytes = matrix.coded() ? matrix.bytes() : static_cast<size_t>(rows * row_bytes);
      add_pieces({.weight = &weight, .first_row = row, .rows = rows, .bytes = bytes}, plan);
    }
  }
  return plan;
}

// The end of the parts from `first` on, before `last`, that fit the staging memory together, at
// least one; sets where each lies there. `bytes`: what they take.
size_t end_of_group(std::vector<Part>& parts, size_t first, size_t last, int64_t staging_bytes,
                    size_t& bytes) {
  bytes = 0;
  size_t end = first;
  for (; end < last; ++end) {
    const auto aligned =
        static_cast<size_t>(round_up(static_cast<int64_t>(parts[end].bytes), kRecordAlign));
    if (end > first && bytes + aligned > static_cast<size_t>(staging_bytes)) break;
    parts[end].staging_offset = bytes;
    bytes += aligned;
  }
  return end;
}

// Runs the pieces of parts on a pool, group after group.
class Reader {
 public:
  Reader(const Plan& plan, int threads, const std::function<void(uint64_t, uint64_t)>& progress)
      : plan_(plan), pool_(std::max(1, threads)), progress_(progress) {}

  // Of parts [first, end), whose `host` is set. The error of the earliest piece that failed.
  Status read(size_t first, size_t end) {
    if (first == end) return {};
    const size_t begin = plan_.parts[first].first_piece;
    const Part& last = plan_.parts[end - 1];
    const size_t count = last.first_piece + last.pieces - begin;
    size_t failed = count;
    Error error;
    pool_.run(static_cast<int64_t>(count), [&](int64_t task) {
      const auto index = static_cast<size_t>(task);
      {
        const std::lock_guard lock(mutex_);
        if (failed < count) return;  // the load has failed: leave the rest unread
      }
      const Piece& piece = plan_.pieces[begin + index];
      const Part& part = plan_.parts[piece.part];
      const Reading reading = reading_of(*part.weight);
      Status status =
          reading == Reading::kCodes ? read_codes(part, piece) : read_floats(part, piece, reading);
      const std::lock_guard lock(mutex_);
      if (!status && index < failed) failed = index, error = std::move(status).error();
      done_ += piece.stored_bytes;
      if (progress_) progress_(done_, plan_.stored_bytes);
    });
    if (failed < count) return tl::unexpected<Error>(std::move(error));
    return {};
  }

 private:
  const Plan& plan_;
  ThreadPool pool_;
  const std::function<void(uint64_t, uint64_t)>& progress_;
  std::mutex mutex_;  // guards done_ and the error of a group
  uint64_t done_ = 0;
};

// The device's address of a part. Views of weights are read-only to everyone but the loader.
std::byte* address_of(const Part& part) {
  const Matrix& matrix = part.weight->matrix;
  const int64_t offset = matrix.coded() ? 0 : part.first_row * matrix.cols * bytes_of(matrix.dtype);
  return const_cast<std::byte*>(matrix.data) + offset;
}

}  // namespace

Status read_weights(std::vector<WeightToRead> weights, Backend& backend, int threads,
                    const std::function<void(uint64_t, uint64_t)>& progress,
                    int64_t staging_bytes) {
  std::stable_partition(weights.begin(), weights.end(),
                        [](const WeightToRead& w) { return w.device != Device::kHost; });
  Plan plan = make_plan(weights, staging_bytes);
  Reader reader(plan, threads, progress);
  const auto staged = static_cast<size_t>(
      std::find_if(plan.parts.begin(), plan.parts.end(),
                   [](const Part& p) { return p.weight->device == Device::kHost; }) -
      plan.parts.begin());
  size_t most = 0, bytes = 0;
  for (size_t first = 0; first < staged;) {
    first = end_of_group(plan.parts, first, staged, staging_bytes, bytes);
    most = std::max(most, bytes);
  }
  Buffer staging;
  HLWQ_TRY_ASSIGN(staging, allocate_host(most, "staging of weights"));
  for (size_t first = 0, end; first < staged; first = end) {
    end = end_of_group(plan.parts, first, staged, staging_bytes, bytes);
    for (size_t i = first; i < end; ++i)
      plan.parts[i].host = staging.data() + plan.parts[i].staging_offset;
    HLWQ_TRY(reader.read(first, end));
    for (size_t i = first; i < end; ++i)
      backend.upload(address_of(plan.parts[i]), plan.parts[i].host, plan.parts[i].bytes);
  }
  staging = Buffer();
  for (size_t i = staged; i < plan.parts.size(); ++i)
    plan.parts[i].host = address_of(plan.parts[i]);
  return reader.read(staged, plan.parts.size());
}

}  // namespace hlwq
