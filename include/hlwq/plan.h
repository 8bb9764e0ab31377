#pragma once
// The cache-size guide: what a model would take of a GPU, how many of its experts would be at hand
// there and how fast it would decode, for several budgets, before it is loaded.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hlwq/options.h"
#include "hlwq/result.h"

namespace hlwq {

struct PlanRequest {
  std::string model = {};      // folder; or
  std::string synthetic = {};  // as Engine::open_synthetic
  EngineOptions options = {};  // vram and moe_expert_cache_size are what is planned: not used
  // Bytes of the GPU for everything on it. Empty: as many as 8, 16, 32, ... slots in each MoE layer
  // take, up to all experts or the whole GPU.
  std::vector<int64_t> vram_bytes = {};
  int64_t batch = 1;       // sequences decoded side by side, each of options.context tokens
  std::string trace = {};  // routing that was traced (docs/format.md); empty: even routing
};

struct PlanRow {
  int64_t vram_bytes = 0;       // the budget
  int64_t slots = 0;            // for experts, of all layers together; 0: the budget is too small
  int64_t slots_per_layer = 0;  // of an even share
  int64_t resident_bytes = 0;   // on the GPU then, with what other programs have there
  int64_t host_bytes = 0;       // of weights in host memory
  bool resident = false;        // everything lies on the GPU, nothing is cached
  bool streamed = false;        // a step touches more experts than there are slots
  bool fits = false;            // this GPU, as it is now
  double hit_rate = 0;          // of the experts of a step
  double misses_per_step = 0;
  double cpu_per_step = 0;                     // of those, that the CPU multiplies
  std::optional<double> belady_hit_rate = {};  // the best any policy could do; of a trace alone
  std::optional<double> predicted_tok_s = {};  // of all sequences together
};

struct PlanResult {
  std::string model = {}, device = {}, backend = {};  // as ModelInfo
  int64_t context = 0, batch = 1;
  int64_t device_bytes = 0, free_bytes = 0;  // of the GPU, before the model
  int64_t layers = 0, moe_layers = 0, experts = 0, experts_used = 0;  // experts: of each MoE layer
  int64_t expert_bytes = 0, expert_record_bytes = 0;                  // of all, of the largest one
  int64_t attention_layers = 0, kv_heads = 0, head_dim = 0, max_positions = 0;  // as ModelInfo
  int64_t least_vram_bytes = 0;  // that leaves a slot
  // What was measured, scaled to this model: steps with all weights on the GPU, with a slot for
  // every expert, and what a miss adds when all come over the bus.
  double resident_step_s = 0, cached_step_s = 0, miss_s = 0;
  // What an expert takes the CPU and the bus with both at work; 0: the CPU multiplies none.
  double cpu_expert_s = 0, bus_expert_s = 0;
  int64_t traced_steps = 0;  // 0: even routing
  std::vector<PlanRow> rows = {};
  std::optional<size_t> chosen = {};  // of the rows, for this GPU as it is now
  std::string advice = {};            // one line: which, and why
};

// Takes seconds: small models with the same layers are made and decoded on the device. Errors:
// kInvalidArgument (an option or number out of range, a trace of another model), kUnsupported (the
// device has no memory of its own), kOutOfMemory (every budget is too small), and what reading the
// model's headers and the trace reports.
[[nodiscard]] Result<PlanResult> plan(const PlanRequest& request);

}  // namespace hlwq
