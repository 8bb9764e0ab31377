// relu2 MLPs and a token's experts. One token takes a path of few launches (all up matrices with
// the shared one, rotation, all down matrices with the sum); more tokens are sorted by expert.
// Both give the same bits.

#include <algorithm>

#include "base/check.h"
#include "kernels/cuda/combine_experts.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/exact_product.h"
#include "kernels/cuda/matrix_forms.h"
#include "kernels/cuda/matrix_kind.h"
#include "kernels/cuda/place_experts.h"
#include "kernels/cuda/plain_product.h"
#include "kernels/cuda/planes_product.h"
#include "kernels/cuda/relu_squared.h"
#include "kernels/cuda/rotate_quantize.h"
#include "kernels/cuda/sort_choices.h"
#include "kernels/cuda/tiled5_product.h"

namespace hlwq::cuda {
namespace {

// Rows of x a tile should have, by how many an expert has on average (measured on an H200;
// bench/NOTES.md).
int tile_rows_for(const ExpertsArgs& args) {
  const auto experts = static_cast<int64_t>(args.experts.size());
  const int64_t per_expert = (args.x.x.rows * args.experts_used + experts - 1) / experts;
  return per_expert <= 16 ? 16 : per_expert <= 48 ? 32 : 64;
}

const Mlp& any_expert(std::span<const Mlp> experts) {
  const auto it = std::find_if(experts.begin(), experts.end(),
                               [](const Mlp& e) { return e.up.data != nullptr; });
  HLWQ_CHECK(it != experts.end());
  return *it;
}

}  // namespace

Activation CudaBackend::activate_hidden(int64_t first, int64_t rows, const Matrix& down) {
  const int64_t cols = down.cols, blocks = blocks_of(cols);
  Activation hidden{.x = dense(scratch_.hidden, first + rows, cols), .q = {}};
  float* const x = hidden.x.data + first * cols;
  switch (kind_of(down, compute_)) {
    case MatrixKind::kTiled5:
    case MatrixKind::kPlanes:
      hidden.q = scratch_.hidden_q;
      hidden.q.rows = first + rows;
      hidden.q.blocks = blocks;
      rotate_quantize({.x = x,
                       .stride = cols,
                       .rows = rows,
                       .cols = cols,
                       .xq = hidden.q.xq + first * blocks * kBlock,
                       .sx = hidden.q.sx + first * blocks,
                       .sum = hidden.q.sum + first * blocks},
                      {}, BeforeRotation::kReluSquared, non_finite_, stream_.get());
      break;
    case MatrixKind::kExact:
      square_positive(x, rows * cols, stream_.get());
      rotate(dense(x, rows, cols), scratch_.hidden_rotated + first * blocks * kBlock);
      break;
    case MatrixKind::kPlain:
      square_positive(x, rows * cols, stream_.get());
      break;
  }
  return hidden;
}

void CudaBackend::mlp(const MlpArgs& args) {
  const auto& [up, down] = args.mlp;
  const int64_t tokens = args.x.x.rows;
  if (tokens == 0) return;
  HLWQ_CHECK(tokens <= scratch_.tokens && up.rows <= scratch_.mlp_width && up.rows == down.cols);
  const Projection first{
      .weight = up, .bias = args.up_bias, .y = dense(scratch_.hidden, tokens, up.rows)};
  project({.x = args.x, .projections = {&first, 1}});
  const Activation hidden = activate_hidden(0, tokens, down);
  if (kind_of(down, compute_) == MatrixKind::kExact) {
    // project() would rotate into the scratch of the width of the model.
    HLWQ_CHECK(args.y.rows == tokens && args.y.cols == down.rows);
    ProductTargets targets;
    targets.target[targets.count++] = {.matrix = down.data,
                                       .rows = down.rows,
                                       .y = args.y.data,
                                       .y_stride = args.y.stride,
                                       .bias = args.down_bias,
                                       .accumulate = args.accumulate};
    exact_product(scratch_.hidden_rotated, down.blocks(), tokens, targets, coded_form(down), {},
                  stream_.get());
    return;
  }
  const Projection second{
      .weight = down, .bias = args.down_bias, .y = args.y, .accumulate = args.accumulate};
  project({.x = hidden, .projections = {&second, 1}});
}

void CudaBackend::experts_of_one_token(const ExpertsArgs& args, const Mlp& any) {
  const int64_t used = args.experts_used, width = any.up.rows;
  const int64_t shared_width = args.shared == nullptr ? 0 : args.shared->up.rows;
  HLWQ_CHECK(used <= scratch_.pairs && width <= scratch_.expert_width);
  HLWQ_CHECK(shared_width <= scratch_.mlp_width);
  const ExpertAddress* const table = args.table;
  // Hidden rows: those of the experts, then the shared one; the int8 form likewise.
  float* const hidden = scratch_.hidden;
  float* const shared_hidden = hidden + used * width;
  const int64_t blocks = blocks_of(width), shared_blocks = blocks_of(shared_width);
  const QuantizedView& q = scratch_.hidden_q;
  const RotateRows expert_rows{.x = hidden,
                               .stride = width,
                               .rows = used,
                               .cols = width,
                               .xq = q.xq,
                               .sx = q.sx,
                               .sum = q.sum};
  const RotateRows shared_rows{.x = shared_hidden,
                               .stride = shared_width,
                               .rows = args.shared == nullptr ? 0 : 1,
                               .cols = shared_width,
                               .xq = q.xq + used * blocks * kBlock,
                               .sx = q.sx + used * blocks,
                               .sum = q.sum + used * blocks};

  ProductTargets shared_up;
  Tiled5Table shared_table = {};
  if (args.shared != nullptr) {
    shared_up.target[shared_up.count++] = {.matrix = args.shared->up.data,
                                           .rows = shared_width,
                                           .y = shared_hidden,
                                           .y_stride = shared_width};
    shared_table = tiled5_table(*args.shared->up.grid);
  }
  // Experts that are being fetched leave some multiprocessors to the kernel that fetches them.
  DeviceLimits limits = limits_;
  if (args.cache != nullptr) limits.multiprocessors -= kFetchCtas;
  if (args.mail != nullptr) limits.multiprocessors -= kAnswerCtas;
  tiled5_one(quantized_rows(args.x.q), nullptr, shared_up, shared_table,
             {.table = table,
              .down = false,
              .rows = width,
              .codes = tiled5_table(*any.up.grid),
              .ids = args.ids,
              .most_tiles = used,
              .y = hidden,
              .y_stride = width,
              .ready = args.cache == nullptr ? nullptr : args.cache->up_ready},
             limits, stream_.get());
  rotate_quantize(expert_rows, shared_rows, BeforeRotation::kReluSquared, non_finite_,
                  stream_.get());
  tiled5_sum_experts(
      {.hidden = {expert_rows.xq, expert_rows.sx, expert_rows.sum, blocks},
       .table = table,
       .ids = args.ids,
       .weights = args.weights,
       .pairs = used,
       .codes = tiled5_table(*any.down.grid),
       .shared = args.shared == nullptr ? nullptr : args.shared->down.data,
       .shared_hidden = {shared_rows.xq, shared_rows.sx, shared_rows.sum, shared_blocks},
       .shared_codes =
           args.shared == nullptr ? Tiled5Table{} : tiled5_table(*args.shared->down.grid),
       .rows = any.down.rows,
       .y = args.y.data,
       .residual = args.residual.data,
       .ready = args.cache == nullptr ? nullptr : args.cache->down_ready,
       .host_out = args.mail == nullptr ? nullptr : scratch_.expert_out,
       .host_ready = args.mail == nullptr ? nullptr : args.cache->host_ready},
      limits, stream_.get());
}

void CudaBackend::multiply_pairs(const ExpertsArgs& args, const PairRange& range, bool down,
                                 const Activation& x, const int32_t* input_row, float* y) {
  const Mlp& any = any_expert(args.experts);
  const Matrix& matrix = down ? any.down : any.up;
  const ExpertPairs general{.table = args.table + range.first_expert,
                            .down = down,
                            .begin = scratch_.expert_begin + range.first_expert,
                            .input_row = input_row,
                            .experts = range.experts,
                            .first_pair = range.first_pair,
                            .pairs = range.pairs,
                            .rows = matrix.rows,
                            .y = y,
                            .y_stride = matrix.rows};
  switch (kind_of(matrix, compute_)) {
    case MatrixKind::kTiled5: {
      const int tile_rows = tile_rows_for(args);
      const bool counted = range.tiles >= 0;
      const Tiled5Experts tiled{
          .table = args.table,
          .down = down,
          .rows = matrix.rows,
          .codes = tiled5_table(*matrix.grid),
          .tiles = scratch_.tiles + range.first_tile,
          .tile_count = counted ? nullptr : scratch_.tile_count,
          .input_row = input_row,
          .most_tiles = counted ? range.tiles
                                : range.pairs / tile_rows + std::min(range.experts, range.pairs),
          .y = y,
          .y_stride = matrix.rows};
      const QuantizedRows rows = quantized_rows(x.q);
      HLWQ_CHECK(rows.xq != nullptr && rows.blocks == matrix.blocks());
      tiled5_many(rows, 0, {}, {}, tiled, tile_rows, stream_.get());
      break;
    }
    case MatrixKind::kPlanes:
      HLWQ_CHECK(x.q.xq != nullptr && x.q.blocks == matrix.blocks());
      planes_product(quantized_rows(x.q), 0, {}, coded_form(matrix), general, stream_.get());
      break;
    case MatrixKind::kExact:
      exact_product(down ? scratch_.hidden_rotated : scratch_.rotated, matrix.blocks(), 0, {},
                    coded_form(matrix), general, stream_.get());
      break;
    case MatrixKind::kPlain:
      plain_product(plain_rows(x.x), 0, {}, plain_type(matrix.dtype), general, stream_.get());
      break;
  }
}

void CudaBackend::experts(const ExpertsArgs& args) {
  const int64_t tokens = args.x.x.rows, used = args.experts_used;
  if (tokens == 0) return;
  HLWQ_CHECK(args.table != nullptr);
  const Mlp& any = any_expert(args.experts);
  const auto by_integers = [&](const Mlp& mlp) {
    return kind_of(mlp.up, compute_) == MatrixKind::kTiled5 &&
           kind_of(mlp.down, compute_) == MatrixKind::kTiled5;
  };
  if (tokens == 1 && by_integers(any) && (args.shared == nullptr || by_integers(*args.shared)) &&
      tiled5_one_takes(any.up.blocks(), used, limits_) &&
      tiled5_sum_takes(used, any.down.blocks(),
                       args.shared == nullptr ? 0 : args.shared->down.blocks(), limits_))
    return experts_of_one_token(args, any);
  begin_experts(args);
  multiply_range(args,
                 {.experts = static_cast<int64_t>(args.experts.size()), .pairs = tokens * used});
  if (args.mail != nullptr)
    put_rows({.choices = args.mail->choices,
              .y = args.mail->y,
              .place = scratch_.choice_pair,
              .out = scratch_.expert_out,
              .width = args.y.cols,
              .answered_rows = args.mail->rows,
              .answered = args.mail->answered,
              .questions = args.cache->questions,
              .host_ready = args.cache->host_ready},
             stream_.get());
  end_experts(args);
}

void CudaBackend::put_experts(const ExpertsArgs& args, const ExpertRows& rows) {
  if (rows.rows == 0) return;
  put_rows({.choices = rows.choices,
            .y = rows.y,
            .rows = rows.rows,
            .place = scratch_.choice_pair,
            .out = scratch_.expert_out,
            .width = args.y.cols},
           stream_.get());
}

void CudaBackend::begin_experts(const ExpertsArgs& args) {
  const int64_t tokens = args.x.x.rows, used = args.experts_used, width = args.y.cols;
  const auto experts = static_cast<int64_t>(args.experts.size());
  HLWQ_CHECK(args.y.rows == tokens);
  HLWQ_CHECK(args.residual.data == nullptr || args.residual.rows == tokens);
  HLWQ_CHECK(tokens * used <= scratch_.pairs && experts <= scratch_.experts);
  HLWQ_CHECK(width <= scratch_.sum_width && tokens <= scratch_.tokens);
  const Mlp& any = any_expert(args.experts);
  HLWQ_CHECK(any.up.rows <= scratch_.expert_width);
  if (args.shared != nullptr)
    mlp({.x = args.x, .mlp = *args.shared, .y = dense(scratch_.shared_out, tokens, width)});
  sort_choices(args.ids, tokens * used, used, experts, tile_rows_for(args),
               {.begin = scratch_.expert_begin,
                .pair_token = scratch_.pair_token,
                .choice_pair = scratch_.choice_pair,
                .tiles = scratch_.tiles,
                .tile_count = scratch_.tile_count},
               stream_.get());
  if (kind_of(any.up, compute_) == MatrixKind::kExact) rotate(args.x.x, scratch_.rotated);
}

void CudaBackend::some_experts(const ExpertsArgs& args, const ExpertRange& range) {
  HLWQ_CHECK(args.table != nullptr && range.choices.size() == args.experts.size());
  const int64_t tile_rows = tile_rows_for(args);
  PairRange pairs{.first_expert = range.first, .experts = range.last - range.first, .tiles = 0};
  for (int64_t e = 0; e < range.last; ++e) {
    const int64_t choices = range.choices[static_cast<size_t>(e)];
    (e < range.first ? pairs.first_pair : pairs.pairs) += choices;
    (e < range.first ? pairs.first_tile : pairs.tiles) += (choices + tile_rows - 1) / tile_rows;
  }
  if (pairs.pairs > 0) multiply_range(args, pairs);
}

void CudaBackend::multiply_range(const ExpertsArgs& args, const PairRange& range) {
  const Mlp& any = any_expert(args.experts);
  multiply_pairs(args, range, false, args.x, scratch_.pair_token, scratch_.hidden);
  const Activation hidden = activate_hidden(range.first_pair, range.pairs, any.down);
  multiply_pairs(args, range, true, hidden, nullptr, scratch_.expert_out);
}

void CudaBackend::end_experts(const ExpertsArgs& args) {
  combine_experts({.out = scratch_.expert_out,
                   .choice_pair = scratch_.choice_pair,
                   .weights = args.weights,
                   .tokens = args.x.x.rows,
                   .experts_used = args.experts_used,
                   .width = args.y.cols,
                   .shared = args.shared == nullptr ? nullptr : scratch_.shared_out,
                   .y = args.y.data,
                   .y_stride = args.y.stride,
                   .residual = args.residual.data,
                   .residual_stride = args.residual.stride},
                  stream_.get());
}

}  // namespace hlwq::cuda
