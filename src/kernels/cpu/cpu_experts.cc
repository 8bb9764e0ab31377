// relu^2 MLPs, the router, and a token's chosen experts with the shared one.

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "kernels/cpu/cpu_backend.h"

namespace hlwq::cpu {
namespace {

// relu^2 and quantization of a piece of a row.
constexpr double kPieceNs = 600;

constexpr float kLowest = -std::numeric_limits<float>::infinity();

// Marks the `count` largest of `values`; the lower index wins a tie. A NaN counts as -infinity, so
// that whatever comes in, `count` different indices come out.
void choose_largest(const float* values, int64_t size, int64_t count, uint8_t* chosen) {
  std::fill_n(chosen, size, uint8_t{0});
  for (int64_t n = 0; n < count; ++n) {
    int64_t best = -1;
    float largest = kLowest;
    for (int64_t i = 0; i < size; ++i) {
      if (chosen[i] != 0) continue;
      const float value = std::isnan(values[i]) ? kLowest : values[i];
      if (best < 0 || value > largest) {
        best = i;
        largest = value;
      }
    }
    chosen[best] = 1;
  }
}

// Sum of the two largest of a group's scores (the one, when the group is one expert).
float group_score(const float* scores, int64_t size) {
  float best = kLowest, second = kLowest;
  for (int64_t i = 0; i < size; ++i) {
    if (scores[i] > best) {
      second = best;
      best = scores[i];
    } else if (scores[i] > second) {
      second = scores[i];
    }
  }
  return size == 1 ? best : best + second;
}

}  // namespace

void CpuBackend::route(const RouteArgs& args) {
  const int64_t tokens = args.u.x.rows, experts = args.gate.rows;
  HLWQ_CHECK(!args.gate.coded() && args.gate.cols == args.u.x.cols && args.gate.data != nullptr);
  HLWQ_CHECK(args.norm.x.data != args.u.x.data);
  HLWQ_CHECK(args.groups >= 1 && experts % args.groups == 0);
  HLWQ_CHECK(args.groups_used >= 1 && args.groups_used <= args.groups);
  HLWQ_CHECK(args.experts_used >= 1 && args.experts_used <= experts);
  HLWQ_CHECK(tokens <= scratch_.tokens && experts <= scratch_.experts);
  if (tokens == 0) return;
  rms_norm({.x = args.norm.x, .weight = args.norm.weight, .eps = args.norm.eps, .out = args.u});
  Product gate = make_product(args.gate, args.u, nullptr);
  gate.y = scratch_.scores;
  gate.y_stride = experts;
  start_jobs();
  add_job(gate);
  run_jobs();
  const auto values = static_cast<double>(experts);
  parallel_rows(tokens, values * (5.0 + static_cast<double>(args.experts_used)),
                [&](int64_t t) { choose_experts(args, t); });
}

void CpuBackend::choose_experts(const RouteArgs& args, int64_t token) {
  const int64_t experts = args.gate.rows, group_size = experts / args.groups;
  float* scores = scratch_.scores + token * experts;
  float* corrected = scratch_.corrected + token * experts;
  float* group_scores = scratch_.group_scores + token * experts;
  uint8_t* chosen = scratch_.chosen + token * experts;
  for (int64_t e = 0; e < experts; ++e) {
    scores[e] = 1.0f / (1.0f + std::exp(-scores[e]));
    corrected[e] = scores[e] + args.correction_bias[e];
  }
  if (args.groups > 1) {
    for (int64_t g = 0; g < args.groups; ++g) {
      group_scores[g] = group_score(corrected + g * group_size, group_size);
    }
    choose_largest(group_scores, args.groups, args.groups_used, chosen);
    for (int64_t g = 0; g < args.groups; ++g) {
      if (chosen[g] == 0) std::fill_n(corrected + g * group_size, group_size, kLowest);
    }
  }
  choose_largest(corrected, experts, args.experts_used, chosen);
  int32_t* ids = args.ids + token * args.experts_used;
  float* weights = args.weights + token * args.experts_used;
  int64_t n = 0;
  float sum = 0;
  for (int64_t e = 0; e < experts; ++e) {
    if (chosen[e] == 0) continue;
    ids[n] = static_cast<int32_t>(e);
    weights[n] = scores[e];
    sum += scores[e];
    ++n;
  }
  for (int64_t i = 0; i < n; ++i) {
    if (args.normalize) weights[i] = weights[i] / (sum + 1e-20f);
    weights[i] = weights[i] * args.scale;
  }
}

Activation CpuBackend::hidden_rows(int64_t at, int64_t block, int64_t rows,
                                   const Matrix& down) const {
  Activation hidden{dense(scratch_.hidden + at, rows, down.cols), {}};
  if (down.coded() && compute_ != Compute::kExact) {
    hidden.q = {scratch_.hidden_xq + block * kBlock, scratch_.hidden_sx + block,
                scratch_.hidden_sum + block, rows, blocks_of(down.cols)};
  }
  return hidden;
}

void CpuBackend::activate(const Activation& hidden, const Matrix& down, float* rotated, int64_t row,
                          int64_t piece) {
  const int64_t cols = down.cols, blocks = blocks_of(cols);
  const int64_t first = piece * kPieceBlocks, count = std::min(kPieceBlocks, blocks - first);
  const int64_t column = first * kBlock, left = cols - column;
  float* const x = hidden.x.data + row * cols + column;
  kernels_.relu_squared(x, std::min(left, count * kBlock));
  if (hidden.q.xq != nullptr) {
    quantize_blocks(hidden, row, first, count);
  } else if (down.coded() &&
             !kernels_.rotate_row(x, left, count, rotated + (row * blocks + first) * kBlock)) {
    non_finite_.store(true, std::memory_order_relaxed);
  }
}

void CpuBackend::mlp(const MlpArgs& args) {
  const auto& [up, down] = args.mlp;
  const int64_t tokens = args.x.x.rows;
  HLWQ_CHECK(tokens <= scratch_.tokens && up.rows <= scratch_.mlp_width && up.rows == down.cols);
  const Projection first{
      .weight = up, .bias = args.up_bias, .y = dense(scratch_.hidden, tokens, up.rows)};
  project({args.x, {&first, 1}});
  HLWQ_CHECK(args.y.rows == tokens && args.y.cols == down.rows);
  if (tokens == 0) return;
  const Activation hidden = hidden_rows(0, 0, tokens, down);
  const int64_t pieces = pieces_of(blocks_of(down.cols));
  parallel_rows(tokens * pieces, kPieceNs, [&](int64_t unit) {
    activate(hidden, down, scratch_.hidden_rotated, unit / pieces, unit % pieces);
  });
  Product product = make_product(down, hidden, scratch_.hidden_rotated);
  product.y = args.y.data;
  product.y_stride = args.y.stride;
  product.bias = args.down_bias;
  product.accumulate = args.accumulate;
  start_jobs();
  add_job(product);
  run_jobs();
}

// Sorts the choices by expert, tokens ascending within one: expert e has the pairs
// [expert_begin[e], expert_begin[e + 1]).
void CpuBackend::sort_choices(const ExpertsArgs& args) {
  const int64_t choices = args.x.x.rows * args.experts_used;
  const auto experts = static_cast<int64_t>(args.experts.size());
  int32_t* begin = scratch_.expert_begin;
  std::fill_n(begin, experts + 1, 0);
  for (int64_t i = 0; i < choices; ++i) {
    HLWQ_CHECK(args.ids[i] >= 0 && args.ids[i] < experts);
    ++begin[args.ids[i] + 1];
  }
  for (int64_t e = 0; e < experts; ++e) begin[e + 1] += begin[e];
  // begin[e] walks to the end of expert e while placing, then is set back by one expert.
  for (int64_t i = 0; i < choices; ++i) {
    const int32_t pair = begin[args.ids[i]]++;
    scratch_.pair_token[pair] = static_cast<int32_t>(i / args.experts_used);
    scratch_.choice_pair[i] = pair;
  }
  for (int64_t e = experts; e > 0; --e) begin[e] = begin[e - 1];
  begin[0] = 0;
}

void CpuBackend::experts(const ExpertsArgs& args) {
  const int64_t tokens = args.x.x.rows, width = args.y.cols;
  if (tokens == 0) return;
  begin_experts(args);
  size_t count = list_pairs(
      args, {.first = 0, .last = static_cast<int64_t>(args.experts.size()), .choices = {}});
  // The shared expert goes with the chosen ones: fewer regions, and threads end together.
  float* const shared_out = scratch_.expert_out + tokens * args.experts_used * width;
  if (args.shared != nullptr) {
    scratch_.expert_pairs[count++] = {
        .expert = *args.shared, .tokens = nullptr, .count = tokens, .y = shared_out};
  }
  multiply_pairs(args.x, {scratch_.expert_pairs, count}, width);
  put_answer(args);
  sum_experts(args, args.shared != nullptr ? shared_out : nullptr);
}

void CpuBackend::begin_experts(const ExpertsArgs& args) {
  const int64_t tokens = args.x.x.rows;
  HLWQ_CHECK(args.y.rows == tokens && args.y.cols <= scratch_.width);
  HLWQ_CHECK(tokens * args.experts_used <= scratch_.pairs);
  HLWQ_CHECK(static_cast<int64_t>(args.experts.size()) <= scratch_.experts);
  sort_choices(args);
  const bool coded = args.experts[static_cast<size_t>(args.ids[0])].up.coded() ||
                     (args.shared != nullptr && args.shared->up.coded());
  if (coded && compute_ == Compute::kExact) {
    HLWQ_CHECK(tokens <= scratch_.tokens && args.x.x.cols <= scratch_.width);
    rotate(args.x.x, scratch_.rotated);
  }
}

size_t CpuBackend::list_pairs(const ExpertsArgs& args, const ExpertRange& range) {
  const int32_t* begin = scratch_.expert_begin;
  size_t count = 0;
  for (int64_t e = range.first; e < range.last; ++e) {
    const Mlp expert = expert_at(args, static_cast<size_t>(e));
    if (begin[e] == begin[e + 1] || expert.up.data == nullptr) continue;
    scratch_.expert_pairs[count++] = {.expert = expert,
                                      .tokens = scratch_.pair_token + begin[e],
                                      .count = begin[e + 1] - begin[e],
                                      .y = scratch_.expert_out + begin[e] * args.y.cols};
  }
  return count;
}

void CpuBackend::some_experts(const ExpertsArgs& args, const ExpertRange& range) {
  const size_t count = list_pairs(args, range);
  multiply_pairs(args.x, {scratch_.expert_pairs, count}, args.y.cols);
}

void CpuBackend::expert_outputs(const OutputsArgs& args) {
  const size_t count = args.experts.size();
  HLWQ_CHECK(static_cast<int64_t>(count) <= scratch_.experts &&
             args.begin[count] <= scratch_.pairs);
  for (size_t i = 0; i < count; ++i)
    scratch_.expert_pairs[i] = {.expert = args.experts[i],
                                .tokens = args.tokens + args.begin[i],
                                .count = args.begin[i + 1] - args.begin[i],
                                .y = args.y.row(args.begin[i])};
  if (count == 0) return;
  const int64_t cols = args.experts[0].up.cols;
  const Activation x{.x = {.data = nullptr, .rows = args.x.rows, .cols = cols, .stride = cols},
                     .q = args.x};
  multiply_pairs(x, {scratch_.expert_pairs, count}, args.y.stride);
}

// Hidden rows of the pairs lie one after the other; rows of y are `y_stride` floats apart.
void CpuBackend::multiply_pairs(const Activation& x, std::span<ExpertPairs> experts,
                                int64_t y_stride) {
  if (experts.empty()) return;
  int64_t rows = 0, floats = 0, blocks = 0, pieces = 0;
  start_jobs();
  for (ExpertPairs& e : experts) {
    const auto& [up, down] = e.expert;
    const int64_t width = up.rows, row_blocks = blocks_of(width);
    HLWQ_CHECK(width <= scratch_.mlp_width && down.cols == width &&
               down.rows == experts[0].expert.down.rows);
    e.hidden = hidden_rows(floats, blocks, e.count, down);
    if (compute_ == Compute::kExact) e.rotated = scratch_.hidden_rotated + blocks * kBlock;
    e.first_piece = pieces;
    Product product = make_product(up, x, scratch_.rotated);
    product.input_rows = e.tokens;
    product.tokens = e.count;
    product.y = e.hidden.x.data;
    product.y_stride = width;
    add_job(product);
    rows += e.count;
    floats += e.count * width;
    blocks += e.count * row_blocks;
    pieces += e.count * pieces_of(row_blocks);
  }
  HLWQ_CHECK(rows <= scratch_.outputs);
  run_jobs();

  parallel_rows(pieces, kPieceNs, [&](int64_t unit) {
    const auto after =
        std::upper_bound(experts.begin(), experts.end(), unit,
                         [](int64_t u, const ExpertPairs& e) { return u < e.first_piece; });
    const ExpertPairs& e = *(after - 1);
    const Matrix& down = e.expert.down;
    const int64_t row_pieces = pieces_of(blocks_of(down.cols)), piece = unit - e.first_piece;
    activate(e.hidden, down, e.rotated, piece / row_pieces, piece % row_pieces);
  });

  start_jobs();
  for (const ExpertPairs& e : experts) {
    Product down = make_product(e.expert.down, e.hidden, e.rotated);
    down.y = e.y;
    down.y_stride = y_stride;
    add_job(down);
  }
  run_jobs();
}

void CpuBackend::put_experts(const ExpertsArgs& args, const ExpertRows& rows) {
  const int64_t width = args.y.cols;
  parallel_rows(rows.rows, static_cast<double>(width) * 0.1, [&](int64_t r) {
    std::copy_n(rows.y + r * width, width,
                scratch_.expert_out + scratch_.choice_pair[rows.choices[r]] * width);
  });
}

void CpuBackend::sum_experts(const ExpertsArgs& args, const float* shared_out) {
  constexpr int64_t kColumns = 512;  // of a task, as one token's sum is shared by threads too
  const int64_t tokens = args.x.x.rows, width = args.y.cols, used = args.experts_used;
  const int64_t parts = (width + kColumns - 1) / kColumns;
  const bool complete = args.shared == nullptr || shared_out != nullptr;
  parallel_rows(tokens * parts, static_cast<double>(kColumns * (used + 2)) * 0.2,
                [&](int64_t unit) {
                  const int64_t t = unit / parts, first = unit % parts * kColumns;
                  const int64_t count = std::min(kColumns, width - first);
                  float* const y = args.y.row(t) + first;
                  for (int64_t i = 0; i < used; ++i) {
                    const int64_t choice = t * used + i;
                    const int64_t pair = scratch_.choice_pair[choice];
                    kernels_.add_scaled(scratch_.expert_out + pair * width + first,
                                        args.weights[choice], count, i == 0, y);
                  }
                  if (shared_out != nullptr) kernels_.add(shared_out + t * width + first, count, y);
                  if (complete && args.residual.data != nullptr)
                    kernels_.add(y, count, args.residual.row(t) + first);
                });
}

void CpuBackend::end_experts(const ExpertsArgs& args) {
  sum_experts(args, nullptr);
  if (args.shared == nullptr) return;
  mlp({.x = args.x, .mlp = *args.shared, .y = args.y, .accumulate = true});
  if (args.residual.data != nullptr) add({.x = args.y, .y = args.residual});
}

}  // namespace hlwq::cpu
