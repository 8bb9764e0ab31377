#include "model/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>

#include "base/checked.h"
#include "base/log.h"
#include "base/units.h"
#include "model/activations.h"

namespace hlwq {
namespace {

constexpr size_t kMost = std::numeric_limits<size_t>::max();

// What a driver takes beside our buffers when steps begin: kernels, recorded steps, queues (18 MB
// were seen).
constexpr size_t kDriverBytes = size_t{64} << 20;

std::string text(size_t bytes) {
  constexpr auto kLargest = static_cast<size_t>(std::numeric_limits<int64_t>::max());
  return format_bytes(static_cast<int64_t>(std::min(bytes, kLargest)));
}

size_t sum(std::initializer_list<size_t> parts) {
  size_t total = 0;
  for (const size_t part : parts) total = part > kMost - total ? kMost : total + part;
  return total;
}

Status check_limits(const StepLimits& limits) {
  constexpr int64_t kMostTokens = int64_t{1} << 20, kMostContext = int64_t{1} << 31;
  if (limits.tokens >= 1 && limits.tokens <= kMostTokens && limits.logit_rows >= 1 &&
      limits.logit_rows <= limits.tokens && limits.context >= 1 && limits.context <= kMostContext)
    return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("step limits: {} tokens, {} logit rows, context {}; wanted at least 1 "
                          "each, at most {} tokens, no more rows than tokens",
                          limits.tokens, limits.logit_rows, limits.context, kMostTokens));
}

class Plan {
 public:
  // `on_device`: the experts lie there too.
  Plan(const ModelConfig& config, const StepLimits& limits, const WeightBytes& weights,
       bool on_device, bool coded, bool integer, const SequenceBytes& sequence_bytes)
      : config_(config),
        limits_(limits),
        weights_(weights),
        device_weights_(on_device ? weights.total() : weights.others),
        coded_(coded),
        activations_(StepBuffers::bytes_for(config, limits, coded && integer)),
        sequence_bytes_(sequence_bytes) {}

  // Without scratch.
  [[nodiscard]] size_t total() const { return sum({device_weights_, later()}); }
  // What is asked for after the weights.
  [[nodiscard]] size_t later() const { return sum({activations_, sequences(limits_.context)}); }

  [[nodiscard]] std::string parts() const {
    return fmt::format("weights {} (experts {}{}), activations {}, sequences {}",
                       text(weights_.total()), text(weights_.experts),
                       device_weights_ == weights_.total() ? "" : ", in host memory",
                       text(activations_), text(sequences(limits_.context)));
  }

  // What to do about memory that is too small.
  [[nodiscard]] std::string advice(size_t available) const {
    if (device_weights_ > available)
      return device_weights_ > weights_.others && weights_.others < available
                 ? "--vram BYTES keeps experts in host memory"
                 : "the weights alone do not fit";
    const size_t left = available - device_weights_;
    if (activations_ >= left) return "a smaller --prefill-chunk needs less for activations";
    if (const int64_t context = context_for(left - activations_); context > 0)
      return fmt::format("--context {} would fit", context);
    return "try a smaller --prefill-chunk and --context";
  }

 private:
  [[nodiscard]] size_t sequences(int64_t context) const {
    return sequence_bytes_ ? sequence_bytes_(state_shape_of(config_), coded_, context) : 0;
  }

  // The longest context, in whole pages and below the one asked for, whose memory fits; 0: none.
  [[nodiscard]] int64_t context_for(size_t bytes) const {
    int64_t fits = 0, too_long = (limits_.context + kPageTokens - 1) / kPageTokens;
    while (too_long - fits > 1) {
      const int64_t middle = fits + (too_long - fits) / 2;
      (sequences(middle * kPageTokens) <= bytes ? fits : too_long) = middle;
    }
    return fits * kPageTokens;
  }

  const ModelConfig& config_;
  const StepLimits& limits_;
  const WeightBytes& weights_;
  size_t device_weights_;
  bool coded_;
  size_t activations_;
  const SequenceBytes& sequence_bytes_;
};

Status check_room(const Plan& plan, const Backend& backend, size_t scratch) {
  const DeviceMemory memory = backend.memory();
  const size_t available = memory.free > kDriverBytes ? memory.free - kDriverBytes : 0;
  if (plan.total() <= available) return {};
  return fail(
      ErrorCode::kOutOfMemory,
      fmt::format("the model needs {} of memory on {}: {}{}; {} of {} are free there, {} of them "
                  "for the driver; {}",
                  text(sum({plan.total(), scratch})), backend.name(), plan.parts(),
                  scratch > 0 ? fmt::format(", scratch {}", text(scratch)) : "",
                  text(sum({memory.free, scratch})), text(memory.total), text(kDriverBytes),
                  plan.advice(available)));
}

// Returns the bytes it took.
Result<size_t> reserve_scratch(Backend& backend, const ModelConfig& config,
                               const StepLimits& limits) {
  const size_t before = backend.memory().allocated;
  HLWQ_TRY(backend.reserve(scratch_needs(config, limits)));
  const size_t after = backend.memory().allocated;
  return after > before ? after - before : 0;
}

}  // namespace

Result<ModelNeeds> measure_needs(Backend& backend, const ModelConfig& config,
                                 const StepLimits& limits, const WeightBytes& weights, bool coded,
                                 const SequenceBytes& sequence_bytes) {
  HLWQ_TRY(check_limits(limits));
  const bool integer = backend.compute() == Compute::kInt8;
  const Plan plan(config, limits, weights, true, coded, integer, sequence_bytes);
  HLWQ_TRY_ASSIGN(const size_t scratch, reserve_scratch(backend, config, limits));
  return ModelNeeds{
      .config = config,
      .coded = coded,
      .expert_bytes = weights.experts,
      .embedding_bytes = weights.embeddings,
      .other_bytes = weights.others,
      .scratch_bytes = scratch,
      .later_bytes = sum({plan.later(), backend.device() != Device::kHost ? kDriverBytes : 0})};
}

Result<size_t> prepare_memory(Backend& backend, const ModelConfig& config, const StepLimits& limits,
                              const WeightBytes& weights, bool coded, ExpertHome& home,
                              const SequenceBytes& sequence_bytes) {
  HLWQ_TRY(check_limits(limits));
  const bool integer = backend.compute() == Compute::kInt8;
  const bool refuses = backend.device() != Device::kHost;
  const auto make_plan = [&]() -> Result<Plan> {
    const Plan resident(config, limits, weights, true, coded, integer, sequence_bytes);
    HLWQ_TRY(home.choose(
        backend, weights.experts,
        sum({weights.others, weights.embeddings, resident.later(), refuses ? kDriverBytes : 0})));
    return Plan(config, limits, weights, home.on_device(), coded, integer, sequence_bytes);
  };
  if (refuses) {
    HLWQ_TRY_ASSIGN(const Plan first, make_plan());
    HLWQ_TRY(check_room(first, backend, 0));
  }
  HLWQ_TRY_ASSIGN(const size_t scratch, reserve_scratch(backend, config, limits));
  HLWQ_TRY_ASSIGN(const Plan plan, make_plan());
  if (refuses) HLWQ_TRY(check_room(plan, backend, scratch));
  const DeviceMemory memory = backend.memory();
  log(LogLevel::kInfo,
      fmt::format("memory on {}: {}{}; {} of {} free", backend.name(), plan.parts(),
                  scratch > 0 ? fmt::format(", scratch {}", text(scratch)) : "", text(memory.free),
                  text(memory.total)));
  return sum({plan.later(), refuses ? kDriverBytes : 0});
}

}  // namespace hlwq
