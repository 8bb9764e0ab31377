#include "api/plan_calibration.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "model/synthetic.h"
#include "runtime/experts/offload_home.h"
#include "runtime/session.h"

namespace hlwq {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kWarmUpSteps = 8, kRepetitions = 5, kSteps = 16;
constexpr int64_t kContext = kWarmUpSteps + kRepetitions * kSteps;
// Of experts in a small model: enough that no processor's cache holds them, little enough to make.
constexpr int64_t kMostExpertBytes = int64_t{2} << 30;
// A cache that misses has slots for one in so many experts.
constexpr int64_t kFewSlots = 4;

// Layers of the shortest beginning that has `times` layers of each kind, or as many as there are.
size_t layers_with(const ModelConfig& config, int64_t times) {
  std::map<LayerKind, int64_t> missing;
  for (const LayerConfig& layer : config.layers)
    missing[layer.kind] = std::min(times, missing[layer.kind] + 1);
  size_t layers = 0;
  while (std::any_of(missing.begin(), missing.end(), [](const auto& m) { return m.second > 0; }))
    --missing[config.layers[layers++].kind];
  return layers;
}

SyntheticSpec beginning_of(const ModelConfig& config, size_t layers) {
  SyntheticSpec spec{.config = config,
                     .seed = 0,
                     .skew = 0,
                     .all_layers = static_cast<int64_t>(config.layers.size())};
  spec.config.layers.resize(layers, LayerConfig{});
  return spec;
}

// Half the experts in each layer. False: they are the fewest that are like the model's.
bool halve_experts(ModelConfig& config) {
  for (const LayerConfig& layer : config.layers) {
    const MoeConfig& moe = layer.moe;
    if (layer.kind == LayerKind::kMoe &&
        (moe.experts % (2 * moe.groups) != 0 || moe.experts / 2 < 2 * moe.experts_used))
      return false;
  }
  for (LayerConfig& layer : config.layers) layer.moe.experts /= 2;
  return config.count(LayerKind::kMoe) > 0;
}

struct Timing {
  double step_s = 0;
  double misses = 0;            // of a step
  double cpu_s = 0, bus_s = 0;  // as PlanSpeed
};

class Calibration {
 public:
  Calibration(Backend& backend, const CalibrationOptions& options)
      : backend_(backend), batch_(options.batch), device_bytes_(options.device_bytes) {}

  // Takes experts away until the model is small enough.
  Status shrink(SyntheticSpec& spec) const {
    const DeviceMemory memory = backend_.memory();
    for (;;) {
      HLWQ_TRY_ASSIGN(const ModelNeeds needs,
                      measure_synthetic_model(spec, backend_, limits(), sequence_bytes()));
      const auto experts = static_cast<int64_t>(needs.expert_bytes);
      const auto all = static_cast<int64_t>(memory.total - memory.free + needs.expert_bytes +
                                            needs.embedding_bytes + needs.other_bytes +
                                            needs.scratch_bytes + needs.later_bytes);
      if (experts <= kMostExpertBytes && all <= device_bytes_) return {};
      if (!halve_experts(spec.config)) return {};
    }
  }

  // Decode steps with `slots` expert slots in each MoE layer; 0: all weights on the device.
  Result<Timing> time(const SyntheticSpec& spec, int64_t slots, const CpuChoice& cpu = {}) const {
    OffloadOptions offload{.slots_per_layer = slots, .cpu_share = cpu.share};
    HLWQ_TRY_ASSIGN(offload.cpu, cpu.make());
    OffloadHome home(std::move(offload));
    HLWQ_TRY_ASSIGN(const auto model,
                    make_synthetic_model(spec, backend_, limits(), sequence_bytes(),
                                         slots > 0 ? &home : nullptr));
    HLWQ_TRY_ASSIGN(Session session, Session::create(backend_, *model,
                                                     {.sequences = batch_,
                                                      .context = kContext,
                                                      .kv = kv(model->coded()),
                                                      .prefill_chunk = 1}));
    HLWQ_TRY_ASSIGN(const Buffer buffer, session.allocate_logits(batch_));
    const MutF32View logits = dense(buffer.as<float>().data(), batch_, session.vocabulary());
    std::vector<int32_t> ids(static_cast<size_t>(batch_)), drawn(ids.size());
    std::vector<SequenceInput> inputs(ids.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      HLWQ_TRY_ASSIGN(inputs[i].slot, session.open());
      inputs[i].ids = {&ids[i], 1};
    }
    const std::vector<SampleRow> greedy(ids.size());
    uint64_t counter = 0;
    const auto decode = [&](int64_t steps) -> Status {
      for (int64_t step = 0; step < steps; ++step) {
        // Other tokens than the model's own, which might go round in a circle of few experts.
        for (int32_t& id : ids)
          id = static_cast<int32_t>(random_bits(1, counter++) %
                                    static_cast<uint64_t>(session.vocabulary()));
        HLWQ_TRY(session.decode(inputs, greedy, logits, drawn));
      }
      return {};
    };
    HLWQ_TRY(decode(kWarmUpSteps));
    static_cast<void>(model->take_expert_stats());
    std::vector<double> seconds;
    for (int64_t i = 0; i < kRepetitions; ++i) {
      const Clock::time_point begin = Clock::now();
      HLWQ_TRY(decode(kSteps));
      seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    }
    int64_t misses = 0;
    for (const ExpertLayerStats& layer : model->take_expert_stats()) misses += layer.misses;
    const auto middle = seconds.begin() + kRepetitions / 2;
    std::nth_element(seconds.begin(), middle, seconds.end());
    Timing timing{.step_s = *middle / static_cast<double>(kSteps),
                  .misses = static_cast<double>(misses) / double{kRepetitions * kSteps}};
    if (const HostShare* const share = home.host_share()) {
      timing.cpu_s = share->host_s();
      timing.bus_s = share->bus_s();
    }
    return timing;
  }

 private:
  [[nodiscard]] StepLimits limits() const {
    return {.tokens = batch_, .logit_rows = batch_, .context = kContext};
  }
  [[nodiscard]] KvForm kv(bool coded) const { return default_kv_form(coded, backend_); }
  [[nodiscard]] SequenceBytes sequence_bytes() const {
    return [this](const StateShape& shape, bool coded, int64_t context) {
      return SequencePool::bytes_for(shape,
                                     {.sequences = batch_, .context = context, .kv = kv(coded)});
    };
  }

  Backend& backend_;
  int64_t batch_;
  int64_t device_bytes_;
};

}  // namespace

Result<PlanSpeed> calibrate(Backend& backend, const ModelConfig& config,
                            const CalibrationOptions& options) {
  const QuietLog quiet;  // of what these models take
  const Calibration calibration(backend, options);
  const size_t all = config.layers.size(), few = layers_with(config, 1);
  const size_t more = std::min(all, std::max(layers_with(config, 2), few + 1));
  // Both with the experts that the larger one has room for.
  SyntheticSpec large = beginning_of(config, more);
  HLWQ_TRY(calibration.shrink(large));
  SyntheticSpec small = beginning_of(large.config, few);
  small.all_layers = large.all_layers;

  int64_t experts = 0;
  for (const LayerConfig& layer : large.config.layers)
    experts = std::max(experts, layer.moe.experts);
  Timing of_small;
  const auto step_s = [&](int64_t slots) -> Result<double> {
    HLWQ_TRY_ASSIGN(of_small, calibration.time(small, slots));
    if (few == all) return of_small.step_s;
    HLWQ_TRY_ASSIGN(const Timing of_large, calibration.time(large, slots));
    const double layer_s =
        std::max(0.0, (of_large.step_s - of_small.step_s) / static_cast<double>(more - few));
    return of_small.step_s + layer_s * static_cast<double>(all - few);
  };
  PlanSpeed speed;
  HLWQ_TRY_ASSIGN(speed.resident_step_s, step_s(0));
  speed.cached_step_s = speed.resident_step_s;
  if (experts == 0) return speed;
  HLWQ_TRY_ASSIGN(speed.cached_step_s, step_s(experts));
  const Timing hits = of_small;
  HLWQ_TRY_ASSIGN(const Timing misses,
                  calibration.time(small, std::max<int64_t>(1, experts / kFewSlots)));
  if (misses.misses > hits.misses)
    speed.miss_s = std::max(0.0, (misses.step_s - hits.step_s) / (misses.misses - hits.misses));
  if (!options.cpu.helps) return speed;
  HLWQ_TRY_ASSIGN(const Timing split,
                  calibration.time(small, std::max<int64_t>(1, experts / kFewSlots), options.cpu));
  speed.cpu_s = split.cpu_s;
  speed.bus_s = split.bus_s;
  return speed;
}

}  // namespace hlwq
