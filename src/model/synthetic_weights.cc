// Scales. A coded block's weights are its levels rotated by an orthonormal matrix, times norm /
// sqrt(128): with codes drawn evenly they have the deviation norm * level_deviation / sqrt(128).
// Norms are drawn from a narrow range above the one that gives the deviation wanted:
//   1 / sqrt(columns)             what keeps a row of unit variance at unit variance: in_proj, q,
//   k,
//                                 v, up and head
//   1 / sqrt(columns * layers)    what writes into the residual stream: out_proj, o_proj and down;
//                                 so its variance, 1 in the embeddings, about doubles on the way
//   1                             embeddings
// Routers: rows of unit variance make scores sigmoid(N(0, 1)), so that tokens choose many experts.
// A skew S lowers the score of the expert of rank r by S * 0.16 * ln(r + 1): were the scores'
// noise Gumbel's with their deviation of 0.21, choices would follow Zipf's law with exponent S.
// Mamba: time steps between 0.001 and 0.1 and decays between -1 and -16, as at the start of
// training.

#include "model/synthetic_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/float16.h"
#include "base/random.h"
#include "base/thread_pool.h"
#include "ops/host_memory.h"
#include "quant/codebook.h"
#include "quant/layout.h"

namespace hlwq {
namespace {

constexpr int kBits = 5;
constexpr double kSkewUnit = 0.16;  // scale of a Gumbel distribution of deviation 0.21

// Random numbers of one parameter.
class Stream {
 public:
  explicit Stream(uint64_t seed) : seed_(seed) {}
  double uniform(double low, double high) {
    return low + (high - low) * random_uniform(seed_, counter_++);
  }
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(uniform(0, 1)));
    return radius * std::cos(2.0 * std::numbers::pi * uniform(0, 1));
  }
  // 0 .. count-1 in a random order.
  std::vector<size_t> shuffle(size_t count) {
    std::vector<size_t> order(count);
    std::iota(order.begin(), order.end(), size_t{0});
    for (size_t i = count; i > 1; --i)
      std::swap(order[i - 1], order[random_bits(seed_, counter_++) % i]);
    return order;
  }

 private:
  uint64_t seed_, counter_ = 0;
};

// Four FP16 numbers.
uint64_t four_times(uint16_t half) { return uint64_t{half} * 0x0001000100010001u; }

bool writes_residual(const std::string& name) {
  return name.ends_with("out_proj.weight") || name.ends_with("o_proj.weight") ||
         name.ends_with("down_proj.weight");
}

}  // namespace

Result<std::unique_ptr<SyntheticWeights>> SyntheticWeights::plan(const SyntheticSpec& spec) {
  std::unique_ptr<SyntheticWeights> weights(new SyntheticWeights(spec));
  HLWQ_TRY_ASSIGN(const LevelGrid grid, snap_to_grid(codebook(CodebookKind::kGrid, kBits)));
  HLWQ_CHECK(layout_for(grid) == CodeLayout::kTiled5);
  double squares = 0;
  for (int k = 0; k < grid.levels(); ++k) squares += double{grid.level(k)} * grid.level(k);
  weights->level_deviation_ = std::sqrt(squares / grid.levels());
  weights->weights_.grids.push_back(std::make_unique<const LevelGrid>(grid));
  weights->grid_ = weights->weights_.grids.back().get();
  HLWQ_TRY(weights->find_forms(spec.config));
  return weights;
}

std::optional<Matrix> SyntheticWeights::form(const std::string& name, Kind kind, int64_t rows,
                                             int64_t cols) {
  if (kind == Kind::kValues) return Matrix{.rows = rows, .cols = cols, .dtype = DType::kF32};
  // Checkpoints have their routers in BF16.
  if (kind == Kind::kPlainMatrix) return Matrix{.rows = rows, .cols = cols, .dtype = DType::kBF16};
  if (rows % kTileRows != 0) {  // padding would need norms of 0
    refuse({ErrorCode::kUnsupported,
            fmt::format("synthetic weights: {} has {} rows, wanted a multiple of {}", name, rows,
                        kTileRows)});
    return std::nullopt;
  }
  return Matrix{.rows = rows, .cols = cols, .grid = grid_, .layout = CodeLayout::kTiled5};
}

Result<ModelWeights> SyntheticWeights::make(Backend& backend, ExpertHome& home) {
  HLWQ_TRY(place(spec_.config, backend, home));
  for (size_t i = 0; i < parameters().size(); ++i) {
    const PlacedParameter& parameter = parameters()[i];
    const uint64_t seed = random_bits(spec_.seed, i);
    if (parameter.form.coded()) {
      fill_coded(parameter, seed, backend,
                 device_of(i) != backend.device() && !home.device_reaches());
    } else if (parameter.form.dtype == DType::kBF16) {
      fill_gate(parameter.form, seed, backend);
    } else {
      fill_values(parameter, seed, backend);
    }
  }
  return std::move(weights_);
}

double SyntheticWeights::deviation_of(const PlacedParameter& parameter) const {
  if (parameter.name.ends_with("embeddings.weight") ||
      parameter.name.ends_with("embed_tokens.weight"))
    return 1.0;
  const auto columns = static_cast<double>(parameter.form.cols);
  const auto layers = static_cast<double>(writes_residual(parameter.name) ? spec_.all_layers : 1);
  return 1.0 / std::sqrt(columns * layers);
}

void SyntheticWeights::fill_coded(const PlacedParameter& parameter, uint64_t seed, Backend& backend,
                                  bool on_host) const {
  const auto fill = [&](std::byte* to, size_t bytes, uint64_t with, uint64_t keep, uint64_t set) {
    if (!on_host) return backend.fill_random(to, bytes, with, keep, set);
    constexpr int64_t kWord = sizeof(uint64_t), kTaskWords = 1 << 16;
    const auto all = static_cast<int64_t>(bytes);
    ThreadPool(backend.threads())
        .run_ranges((all + kWord - 1) / kWord, kTaskWords, [&](int64_t begin, int64_t end) {
          fill_random_range(to, static_cast<size_t>(begin * kWord),
                            static_cast<size_t>(std::min(end * kWord, all)), with, keep, set);
        });
  };
  const CodedShape shape = parameter.form.coded_shape();
  auto* const memory = const_cast<std::byte*>(parameter.form.data);
  const auto codes = static_cast<size_t>(shape.norms_offset());
  fill(memory, codes, seed, ~uint64_t{0}, 0);
  // The six low bits of a norm are drawn: it is up to 1/16 above its least.
  constexpr uint16_t kDrawn = 0x003f;
  const double norm = deviation_of(parameter) * std::sqrt(double{kBlock}) / level_deviation_;
  const uint16_t least = f32_to_f16(static_cast<float>(norm)) & static_cast<uint16_t>(~kDrawn);
  fill(memory + codes, static_cast<size_t>(shape.bytes()) - codes, ~seed, four_times(kDrawn),
       four_times(least));
}

void SyntheticWeights::fill_gate(const Matrix& gate, uint64_t seed, Backend& backend) const {
  Stream stream(seed);
  const double deviation = 1.0 / std::sqrt(static_cast<double>(gate.cols));
  std::vector<uint16_t> rows(static_cast<size_t>(gate.rows * gate.cols));
  for (uint16_t& value : rows) value = f32_to_bf16(static_cast<float>(deviation * stream.normal()));
  backend.upload(const_cast<std::byte*>(gate.data), rows.data(), gate.bytes());
}

void SyntheticWeights::fill_values(const PlacedParameter& parameter, uint64_t seed,
                                   Backend& backend) const {
  const std::string& name = parameter.name;
  Stream stream(seed);
  std::vector<float> values(static_cast<size_t>(parameter.form.rows * parameter.form.cols));
  const auto fill = [&](auto&& next) {
    for (float& value : values) value = static_cast<float>(next());
  };
  if (name.ends_with("A_log")) {
    fill([&] { return std::log(stream.uniform(1, 16)); });
  } else if (name.ends_with("dt_bias")) {
    fill([&] {  // softplus of it is the time step
      const double step = std::exp(stream.uniform(std::log(0.001), std::log(0.1)));
      return step + std::log(-std::expm1(-step));
    });
  } else if (name.ends_with("conv1d.weight")) {
    const double most = 1.0 / std::sqrt(static_cast<double>(parameter.form.cols));
    fill([&] { return stream.uniform(-most, most); });
  } else if (name.ends_with("conv1d.bias")) {
    fill([&] { return stream.uniform(-0.1, 0.1); });
  } else if (name.ends_with("e_score_correction_bias")) {
    const std::vector<size_t> experts = stream.shuffle(values.size());
    for (size_t rank = 0; rank < experts.size(); ++rank)
      values[experts[rank]] =
          static_cast<float>(-spec_.skew * kSkewUnit * std::log(static_cast<double>(rank) + 1));
  } else if (name.ends_with("_proj.bias")) {
    fill([] { return 0.0; });
  } else {
    HLWQ_CHECK(name.ends_with("norm.weight") || name.ends_with("norm_f.weight") ||
               name.ends_with(".D"));
    fill([] { return 1.0; });
  }
  backend.upload(const_cast<std::byte*>(parameter.form.data), values.data(),
                 parameter.form.bytes());
}

}  // namespace hlwq
