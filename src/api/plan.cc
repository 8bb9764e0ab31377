#include "hlwq/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "api/check_options.h"
#include "api/choose_backend.h"
#include "api/choose_experts.h"
#include "api/engine_limits.h"
#include "api/guard.h"
#include "api/plan_calibration.h"
#include "api/plan_on.h"
#include "api/plan_rows.h"
#include "base/available_memory.h"
#include "base/log.h"
#include "base/units.h"
#include "model/synthetic.h"

namespace hlwq {
namespace {

constexpr int64_t kMostBatch = 4096;
// That are simulated: of a long trace the end, and of even routing as many for the warm-up as for
// the count.
constexpr int64_t kMostTracedSteps = 4096;
constexpr uint64_t kRoutingSeed = 1;

int64_t bytes(size_t count) { return static_cast<int64_t>(count); }

// The largest record: widths differ between the layers of pruned models.
int64_t record_bytes(const ModelNeeds& needs) {
  int64_t widest = 0, widths = 0;
  for (const LayerConfig& layer : needs.config.layers) {
    if (layer.kind != LayerKind::kMoe) continue;
    widest = std::max(widest, layer.moe.width);
    widths += layer.moe.width * layer.moe.experts;
  }
  if (widths == 0) return 0;
  return bytes(needs.expert_bytes) / widths * widest +
         bytes(needs.expert_bytes) % widths * widest / widths;
}

class Planner {
 public:
  Planner(const PlanRequest& request, Backend& backend) : request_(request), backend_(backend) {
    options_ = request.options;
    options_.step_tokens = std::max(options_.step_tokens, request.batch);
    options_.sequences = request.batch;
  }

  Result<PlanResult> run() {
    const DeviceMemory memory = backend_.memory();
    PlanInputs inputs{.total_bytes = bytes(memory.total),
                      .used_bytes = bytes(memory.total - memory.free)};
    HLWQ_TRY_ASSIGN(const ModelNeeds needs, measure());
    const ModelConfig& config = needs.config;
    inputs.expert_bytes = bytes(needs.expert_bytes);
    inputs.embedding_bytes = bytes(needs.embedding_bytes);
    inputs.other_bytes = bytes(needs.other_bytes);
    inputs.scratch_bytes = bytes(needs.scratch_bytes);
    inputs.later_bytes = bytes(needs.later_bytes);
    inputs.slot_bytes = record_bytes(needs);
    inputs.policy = cache_policy_of(options_.cache_policy);
    HLWQ_TRY_ASSIGN(cpu_, choose_cpu(options_));
    inputs.cpu_share = cpu_.share;
    HLWQ_TRY(add_routing(config, inputs));

    PlanResult plan{.model = request_.model.empty() ? request_.synthetic : request_.model,
                    .device = std::string(backend_.name()),
                    .backend = backend_.description(),
                    .context = context_,
                    .batch = request_.batch,
                    .device_bytes = inputs.total_bytes,
                    .free_bytes = bytes(memory.free),
                    .layers = static_cast<int64_t>(config.layers.size()),
                    .moe_layers = inputs.shape.layers,
                    .experts = inputs.shape.experts,
                    .experts_used = inputs.shape.used,
                    .expert_bytes = inputs.expert_bytes,
                    .expert_record_bytes = inputs.slot_bytes,
                    .attention_layers = config.count(LayerKind::kAttention),
                    .kv_heads = config.attention.kv_heads,
                    .head_dim = config.attention.head_dim,
                    .max_positions = config.max_positions,
                    .traced_steps = inputs.traced ? inputs.routing.steps : 0};
    const PlanRows rows(inputs);
    plan.least_vram_bytes = rows.least_bytes();
    const std::vector<int64_t> budgets =
        request_.vram_bytes.empty() ? rows.ladder() : request_.vram_bytes;
    const int64_t most = *std::max_element(budgets.begin(), budgets.end());
    if (most < plan.least_vram_bytes)
      return fail(ErrorCode::kOutOfMemory,
                  fmt::format("a budget of {} bytes: {} take {}; a smaller --context, --batch or "
                              "--prefill-chunk takes less",
                              most,
                              inputs.shape.layers > 0
                                  ? "everything beside the routed experts and one of those"
                                  : "the model and its sequences",
                              plan.least_vram_bytes));
    HLWQ_TRY_ASSIGN(inputs.speed, speed_of(needs, std::min(most, inputs.total_bytes)));
    plan.resident_step_s = inputs.speed.resident_step_s;
    plan.cached_step_s = inputs.speed.cached_step_s;
    plan.miss_s = inputs.speed.miss_s;
    plan.cpu_expert_s = inputs.speed.cpu_s;
    plan.bus_expert_s = inputs.speed.bus_s;
    for (const int64_t budget : budgets) plan.rows.push_back(rows.row(budget));
    warn_of_host_memory(plan.rows);
    plan.chosen = choose_row(plan.rows);
    plan.advice = advice_of(plan);
    return plan;
  }

 private:
  Result<ModelNeeds> measure() {
    if (request_.model.empty()) {
      HLWQ_TRY_ASSIGN(const SyntheticSpec spec, parse_synthetic_spec(request_.synthetic));
      HLWQ_TRY(check_kv_options(options_, spec.config));
      context_ = choose_context(options_, spec.config);
      return measure_synthetic_model(spec, backend_, step_limits(options_, context_),
                                     sequence_bytes_of(options_, backend_));
    }
    HLWQ_TRY_ASSIGN(const ModelConfig config, read_model_config(request_.model));
    HLWQ_TRY(check_kv_options(options_, config));
    context_ = choose_context(options_, config);
    return measure_model(request_.model, backend_,
                         {.base = options_.base,
                          .limits = step_limits(options_, context_),
                          .sequence_bytes = sequence_bytes_of(options_, backend_),
                          .progress = {}});
  }

  // The shape too.
  Status add_routing(const ModelConfig& config, PlanInputs& inputs) const {
    inputs.routing.batch = request_.batch;
    if (config.count(LayerKind::kMoe) == 0) {
      if (request_.trace.empty()) return {};
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--trace {}: the model routes nothing", request_.trace));
    }
    HLWQ_TRY_ASSIGN(inputs.shape, routing_shape_of(config));
    const RoutingShape& shape = inputs.shape;
    if (request_.trace.empty()) {
      inputs.routing = even_routing(shape, request_.batch, 2 * warm_up_steps(shape), kRoutingSeed);
      return {};
    }
    HLWQ_TRY_ASSIGN(const RoutingTrace trace, read_routing_trace(request_.trace));
    if (trace.shape != shape)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--trace {}: is of {} MoE layers of {} experts, {} used; the model "
                              "has {} of {}, {} used",
                              request_.trace, trace.shape.layers, trace.shape.experts,
                              trace.shape.used, shape.layers, shape.experts, shape.used));
    auto routing = routing_of(trace, request_.batch, kMostTracedSteps);
    if (!routing)
      return fail(routing.error().code,
                  fmt::format("--trace {}: {}", request_.trace, routing.error().message));
    inputs.routing = std::move(*routing);
    inputs.traced = true;
    return {};
  }

  // Measured on 5-bit weights; a model that has more or fewer bytes takes time in proportion.
  Result<PlanSpeed> speed_of(const ModelNeeds& needs, int64_t device_bytes) {
    HLWQ_TRY_ASSIGN(
        PlanSpeed speed,
        calibrate(backend_, needs.config,
                  {.batch = request_.batch, .device_bytes = device_bytes, .cpu = cpu_}));
    const SyntheticSpec spec{.config = needs.config,
                             .seed = 0,
                             .skew = 0,
                             .all_layers = static_cast<int64_t>(needs.config.layers.size())};
    HLWQ_TRY_ASSIGN(const ModelNeeds coded,
                    measure_synthetic_model(spec, backend_, {.tokens = 1}, {}));
    const auto total = [](const ModelNeeds& n) {
      return static_cast<double>(n.expert_bytes + n.embedding_bytes + n.other_bytes);
    };
    const double share = total(needs) / total(coded);
    speed.resident_step_s *= share;
    speed.cached_step_s *= share;
    if (coded.expert_bytes > 0) {
      const double records =
          static_cast<double>(needs.expert_bytes) / static_cast<double>(coded.expert_bytes);
      for (double* const seconds : {&speed.miss_s, &speed.cpu_s, &speed.bus_s}) *seconds *= records;
    }
    constexpr double kLike = 0.02;
    if (share > 1 + kLike || share < 1 - kLike)
      log(LogLevel::kWarning,
          fmt::format("the times are those of 5-bit weights times {:.2f}, as this model has that "
                      "many times their bytes",
                      share));
    return speed;
  }

  static void warn_of_host_memory(const std::vector<PlanRow>& rows) {
    int64_t most = 0;
    for (const PlanRow& row : rows) most = std::max(most, row.host_bytes);
    const int64_t available = available_memory_bytes();
    if (available > 0 && most > available)
      log(LogLevel::kWarning,
          fmt::format("experts in host memory take {}, {} are available: they would wait for a "
                      "file, which the plan knows nothing of",
                      format_bytes(most), format_bytes(available)));
  }

  const PlanRequest& request_;
  Backend& backend_;
  EngineOptions options_;
  int64_t context_ = 0;
  CpuChoice cpu_;
};

Status check_request(const PlanRequest& request) {
  HLWQ_TRY(check_options(request.options));
  if (request.model.empty() == request.synthetic.empty())
    return fail(ErrorCode::kInvalidArgument, "wanted one of MODEL and --synthetic");
  if (request.batch < 1 || request.batch > kMostBatch)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--batch: got {}, wanted 1 to {}", request.batch, kMostBatch));
  for (const int64_t budget : request.vram_bytes)
    if (budget < 1)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--vram: got {}, wanted 1 byte or more", budget));
  return {};
}

}  // namespace

Result<PlanResult> plan_on(Backend& backend, const PlanRequest& request) {
  HLWQ_TRY(check_request(request));
  if (backend.device() == Device::kHost)
    return fail(ErrorCode::kUnsupported,
                fmt::format("a plan divides a model between a GPU's memory and the host's: the "
                            "model runs on {}, which has no memory of its own",
                            backend.name()));
  return Planner(request, backend).run();
}

Result<PlanResult> plan(const PlanRequest& request) {
  return guarded([&]() -> Result<PlanResult> {
    HLWQ_TRY(check_request(request));
    HLWQ_TRY_ASSIGN(const auto backend, choose_backend(request.options));
    return plan_on(*backend, request);
  });
}

}  // namespace hlwq
