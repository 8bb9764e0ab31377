#include "model/nemotron_h/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "base/float16.h"
#include "base/log.h"
#include "base/thread_pool.h"
#include "io/printable.h"
#include "quant/layout.h"

namespace hlwq::nemotron_h {
namespace {

// Weights one piece of work reads at a time: large enough for the disk, small enough that the
// unpacked codes of every thread fit its share of the cache hierarchy's last level or nearly so.
constexpr int64_t kWeightsPerPiece = int64_t{1} << 21;

enum class Reading { kPlain, kF32, kCodes };

// Rows [first_row, first_row + rows) of one stored tensor on their way to `matrix`.
struct Piece {
  TensorSource source;
  Reading reading = Reading::kPlain;
  int64_t first_row = 0, rows = 0, cols = 0;  // rows of the parameter
  DType dtype = DType::kF32;                  // in memory, when not coded
  CodedShape shape{};                         // when coded
  std::byte* matrix = nullptr;                // the whole parameter's memory
  size_t matrix_bytes = 0;
};

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

Status read_codes(const Piece& piece) {
  const int64_t blocks = piece.shape.blocks();
  std::vector<uint8_t> codes(static_cast<size_t>(piece.rows * blocks * kBlock));
  std::vector<uint16_t> norms(static_cast<size_t>(piece.rows * blocks));
  HLWQ_TRY(piece.source.checkpoint->read_codes(*piece.source.stored, piece.first_row, piece.rows,
                                               codes, norms));
  pack_rows(piece.shape, piece.first_row, codes, norms, {piece.matrix, piece.matrix_bytes});
  return {};
}

// Plain values, in their own type or as FP32. A fused tensor's row is a whole expert.
Status read_floats(const Piece& piece) {
  const bool fused = piece.source.slice >= 0;
  const int64_t first = fused ? piece.source.slice : piece.first_row;
  const int64_t rows = fused ? 1 : piece.rows;
  const int64_t count = piece.rows * piece.cols;
  std::byte* const out = piece.matrix + static_cast<size_t>(piece.first_row * piece.cols) *
                                            static_cast<size_t>(bytes_of(piece.dtype));
  if (piece.reading == Reading::kF32) {
    HLWQ_TRY(piece.source.checkpoint->read_f32(
        *piece.source.stored, first, rows,
        {reinterpret_cast<float*>(out), static_cast<size_t>(count)}));
  } else {
    HLWQ_TRY(piece.source.checkpoint->read_plain(
        *piece.source.stored, first, rows,
        {out, static_cast<size_t>(count) * static_cast<size_t>(bytes_of(piece.dtype))}));
  }
  if (const auto bad = first_non_finite(out, count, piece.dtype))
    return fail(ErrorCode::kBadValue,
                fmt::format("{}: {} has a value that is not finite in row {}",
                            piece.source.checkpoint->path(), printable(piece.source.stored->name),
                            piece.first_row + *bad / piece.cols));
  return {};
}

// The visitor that gives every parameter its memory and plans its reading.
class WeightLoader final : public ParameterVisitor {
 public:
  WeightLoader(const TensorSources& sources, Backend& backend, ModelWeights& weights)
      : sources_(sources), backend_(backend), weights_(weights) {}

  void matrix(const std::string& name, int64_t rows, int64_t cols, Matrix& out) override {
    place(name, rows, cols, /*keep_codes=*/true, out);
  }
  void plain_matrix(const std::string& name, int64_t rows, int64_t cols, Matrix& out) override {
    place(name, rows, cols, /*keep_codes=*/false, out);
  }

  void values(const std::string& name, const std::vector<int64_t>& shape,
              const float*& out) override {
    int64_t row_floats = 1;
    for (size_t i = 1; i < shape.size(); ++i) row_floats *= shape[i];
    Matrix vector{.rows = shape.front(), .cols = row_floats, .dtype = DType::kF32};
    const TensorSource source = source_of(name);
    if (error_ || !check_dtype(source)) return;
    if (std::byte* memory = allocate(vector.bytes(), name)) {
      vector.data = memory;
      out = reinterpret_cast<const float*>(memory);
      plan(source, vector, memory);
    }
  }

  void experts(const std::string& prefix, int64_t width, int64_t input,
               std::vector<Mlp>& out) override {
    // First the forms, which give the records their size; then the memory.
    std::vector<std::pair<Matrix*, TensorSource>> parts;
    size_t bytes = 0;
    std::vector<size_t> offsets;
    for (size_t e = 0; e < out.size(); ++e) {
      const auto add = [&](const char* which, int64_t rows, int64_t cols, Matrix& matrix) {
        const TensorSource source = source_of(fmt::format("{}.{}.{}", prefix, e, which));
        if (error_) return;
        matrix = form(source, rows, cols, /*keep_codes=*/true);
        parts.emplace_back(&matrix, source);
        offsets.push_back(bytes);
        bytes += static_cast<size_t>(round_up(static_cast<int64_t>(matrix.bytes()), kRecordAlign));
      };
      add("up_proj.weight", width, input, out[e].up);
      add("down_proj.weight", input, width, out[e].down);
    }
    if (error_) return;
    auto buffer = backend_.allocate(bytes, prefix);
    if (!buffer) return set_error(std::move(buffer).error());
    HLWQ_CHECK(buffer->device() == Device::kHost);
    for (size_t i = 0; i < parts.size(); ++i) {
      std::byte* const memory = buffer->data() + offsets[i];
      parts[i].first->data = memory;
      plan(parts[i].second, *parts[i].first, memory);
    }
    weights_.expert_memory.push_back(*std::move(buffer));
  }

  [[nodiscard]] Status status() const {
    if (error_) return tl::unexpected<Error>(*error_);
    return {};
  }
  [[nodiscard]] const std::vector<Piece>& pieces() const { return pieces_; }

 private:
  void set_error(Error error) {
    if (!error_) error_ = std::move(error);
  }

  TensorSource source_of(const std::string& name) {
    const auto it = sources_.find(name);
    HLWQ_CHECK(it != sources_.end());
    return it->second;
  }

  bool check_dtype(const TensorSource& source) {
    const CheckpointTensor& stored = *source.stored;
    if (stored.coded || is_weight_float(stored.dtype)) return true;
    set_error(
        {ErrorCode::kUnsupported,
         fmt::format("{}: {} has dtype {}, wanted BF16, F16 or F32", source.checkpoint->path(),
                     printable(stored.name), name_of(stored.dtype))});
    return false;
  }

  // How the parameter will lie in memory: everything of the matrix but its address.
  Matrix form(const TensorSource& source, int64_t rows, int64_t cols, bool keep_codes) {
    Matrix matrix{.rows = rows, .cols = cols, .dtype = DType::kF32};
    if (!check_dtype(source)) return matrix;
    const auto& coded = source.stored->coded;
    if (!coded) {
      matrix.dtype = source.stored->dtype;
    } else if (keep_codes && !coded->flat) {
      matrix.grid = grid_of(source);
      if (matrix.grid != nullptr) matrix.layout = layout_for(*matrix.grid);
      weights_.coded = true;
    }
    return matrix;
  }

  // The level grid of a coded tensor: one for all tensors with the same table.
  const LevelGrid* grid_of(const TensorSource& source) {
    const Levels& levels = source.checkpoint->levels(*source.stored);
    if (const auto known = grids_.find(levels); known != grids_.end()) return known->second;
    auto grid = snap_to_grid(levels);
    if (!grid) {
      set_error(
          {grid.error().code, fmt::format("{}: {}: {}", source.checkpoint->path(),
                                          printable(source.stored->name), grid.error().message)});
      return nullptr;
    }
    if (grid->snap_db > 0)
      log(LogLevel::kInfo,
          fmt::format("{}: the {}-bit table of {} is not on the integer grid; rounding it costs "
                      "{:.3f} dB",
                      source.checkpoint->path(), grid->bits, printable(source.stored->name),
                      grid->snap_db));
    weights_.grids.push_back(std::make_unique<const LevelGrid>(*grid));
    return grids_[levels] = weights_.grids.back().get();
  }

  std::byte* allocate(size_t bytes, const std::string& name) {
    auto buffer = backend_.allocate(bytes, name);
    if (!buffer) {
      set_error(std::move(buffer).error());
      return nullptr;
    }
    HLWQ_CHECK(buffer->device() == Device::kHost);
    weights_.other_bytes += buffer->bytes();
    weights_.memory.push_back(*std::move(buffer));
    return weights_.memory.back().data();
  }

  void place(const std::string& name, int64_t rows, int64_t cols, bool keep_codes, Matrix& out) {
    const TensorSource source = source_of(name);
    out = form(source, rows, cols, keep_codes);
    if (error_) return;
    if (std::byte* memory = allocate(out.bytes(), name)) {
      out.data = memory;
      plan(source, out, memory);
    }
  }

  // Cuts the reading of a parameter into pieces.
  void plan(const TensorSource& source, const Matrix& matrix, std::byte* memory) {
    Piece piece;
    piece.source = source;
    piece.cols = matrix.cols;
    piece.dtype = matrix.dtype;
    piece.matrix = memory;
    piece.matrix_bytes = matrix.bytes();
    if (matrix.coded()) {
      piece.reading = Reading::kCodes;
      piece.shape = matrix.coded_shape();
    } else if (source.stored->coded || source.stored->dtype != matrix.dtype) {
      piece.reading = Reading::kF32;
    }
    // Whole tiles; a fused tensor is read an expert at a time.
    int64_t step = round_up(std::max<int64_t>(1, kWeightsPerPiece / matrix.cols), kTileRows);
    if (source.slice >= 0) step = matrix.rows;
    for (int64_t row = 0; row < matrix.rows; row += step) {
      piece.first_row = row;
      piece.rows = std::min(step, matrix.rows - row);
      pieces_.push_back(piece);
    }
  }

  const TensorSources& sources_;
  Backend& backend_;
  ModelWeights& weights_;
  std::map<Levels, const LevelGrid*> grids_;
  std::vector<Piece> pieces_;
  std::optional<Error> error_;
};

// Reads all pieces. The error of the earliest piece that failed is returned.
Status read_pieces(const std::vector<Piece>& pieces, int threads,
                   const std::function<void(uint64_t, uint64_t)>& progress) {
  const auto bytes_of_piece = [](const Piece& piece) {
    const auto& shape = piece.source.stored->shape;
    const auto all = static_cast<double>(piece.source.stored->stored_bytes);
    const double share = piece.source.slice >= 0
                             ? 1.0 / static_cast<double>(shape.front())
                             : static_cast<double>(piece.rows) / static_cast<double>(shape.front());
    return static_cast<uint64_t>(std::llround(all * share));
  };
  uint64_t total = 0, done = 0;
  for (const Piece& piece : pieces) total += bytes_of_piece(piece);
  std::mutex mutex;  // guards done, failed and error
  size_t failed = pieces.size();
  Error error;
  ThreadPool pool(std::max(1, threads));
  pool.run(static_cast<int64_t>(pieces.size()), [&](int64_t task) {
    const auto index = static_cast<size_t>(task);
    {
      const std::lock_guard lock(mutex);
      if (failed < pieces.size()) return;  // the load has failed: leave the rest unread
    }
    const Piece& piece = pieces[index];
    Status status = piece.reading == Reading::kCodes ? read_codes(piece) : read_floats(piece);
    const std::lock_guard lock(mutex);
    if (!status && index < failed) failed = index, error = std::move(status).error();
    done += bytes_of_piece(piece);
    if (progress) progress(done, total);
  });
  if (failed < pieces.size()) return tl::unexpected<Error>(std::move(error));
  return {};
}

}  // namespace

Result<ModelWeights> load_weights(
    const NemotronHConfig& config, const TensorSources& sources, Backend& backend, int threads,
    const std::function<void(uint64_t done, uint64_t total)>& progress) {
  ModelWeights weights;
  WeightLoader loader(sources, backend, weights);
  visit_parameters(config, weights, loader);
  HLWQ_TRY(loader.status());
  HLWQ_TRY(read_pieces(loader.pieces(), threads, progress));
  if (config.tied_head) weights.head = weights.embeddings;
  for (LayerWeights& layer : weights.layers)
    if (auto* moe = std::get_if<MoeWeights>(&layer.mixer))
      moe->experts_coded = std::any_of(moe->experts.begin(), moe->experts.end(),
                                       [](const Mlp& e) { return e.up.coded(); });
  return weights;
}

}  // namespace hlwq::nemotron_h
