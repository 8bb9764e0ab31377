#include "api/plan_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/units.h"

namespace hlwq {

PlanRows::PlanRows(const PlanInputs& inputs)
    : inputs_(inputs),
      budget_{.layers = inputs.shape.layers,
              .experts = inputs.shape.experts,
              .slot_bytes = inputs.slot_bytes,
              .used_bytes = inputs.used_bytes + inputs.scratch_bytes + inputs.other_bytes,
              .later_bytes = inputs.later_bytes} {
  if (routed()) warm_up_ = std::min(warm_up_steps(inputs.shape), inputs.routing.steps / 2);
}

int64_t PlanRows::resident_bytes() const {
  return budget_.used_bytes + inputs_.embedding_bytes + inputs_.expert_bytes + inputs_.later_bytes;
}

int64_t PlanRows::least_bytes() const {
  return routed() ? std::min(budget_.bytes_for(1), resident_bytes()) : resident_bytes();
}

std::vector<int64_t> PlanRows::ladder() const {
  std::vector<int64_t> budgets;
  int64_t slots = 8;
  while (slots > 1 && slots > inputs_.shape.experts / 2) slots /= 2;
  for (; slots < inputs_.shape.experts; slots *= 2)
    budgets.push_back(budget_.bytes_for(slots * inputs_.shape.layers));
  budgets.push_back(resident_bytes());
  // What goes beyond the device becomes what the device has.
  const auto beyond = std::find_if(budgets.begin(), budgets.end(),
                                   [&](int64_t bytes) { return bytes > inputs_.total_bytes; });
  if (beyond != budgets.end()) {
    budgets.erase(beyond, budgets.end());
    budgets.push_back(inputs_.total_bytes);
  }
  return budgets;
}

PlanRow PlanRows::row(int64_t vram_bytes) const {
  PlanRow row{.vram_bytes = vram_bytes, .fits = vram_bytes <= inputs_.total_bytes};
  const auto batch = static_cast<double>(inputs_.routing.batch);
  if (resident_bytes() <= vram_bytes) {
    row.resident = true;
    row.fits = resident_bytes() <= inputs_.total_bytes;
    row.slots = inputs_.shape.layers * inputs_.shape.experts;
    row.slots_per_layer = inputs_.shape.experts;
    row.resident_bytes = resident_bytes();
    row.hit_rate = 1;
    row.predicted_tok_s = batch / inputs_.speed.resident_step_s;
    return row;
  }
  SlotBudget budget = budget_;
  budget.vram_bytes = vram_bytes;
  if (!routed() || budget.wanted_slots() < 1) return row;
  row.slots = budget.wanted_slots();
  row.slots_per_layer = row.slots / inputs_.shape.layers;
  row.resident_bytes = budget.bytes_for(row.slots);
  row.host_bytes = inputs_.expert_bytes + inputs_.embedding_bytes;
  const double misses_s = add_misses(row);
  row.predicted_tok_s = batch / (inputs_.speed.cached_step_s + misses_s);
  return row;
}

double PlanRows::add_misses(PlanRow& row) const {
  const RoutingShape& shape = inputs_.shape;
  const Routing& routing = inputs_.routing;
  const PlanSpeed& speed = inputs_.speed;
  std::optional<HostShare> cpu;
  if (speed.cpu_s > 0)
    cpu.emplace(HostShareOptions{.experts = shape.experts,
                                 .host_s = speed.cpu_s,
                                 .bus_s = speed.bus_s,
                                 .fixed = inputs_.cpu_share});
  row.streamed = is_streamed(shape.layers, shape.experts, shape.used, routing.batch, row.slots);
  if (row.streamed) {
    // Such steps leave the slots as they are: whichever experts those hold, of all as many.
    const CacheFigures all = simulate_cache(routing, 1, CachePolicy::kFifo, warm_up_);
    row.hit_rate =
        static_cast<double>(row.slots) / static_cast<double>(shape.layers * shape.experts);
    row.misses_per_step = static_cast<double>(all.hits + all.misses) /
                          static_cast<double>(all.steps) * (1 - row.hit_rate);
    if (!cpu) return row.misses_per_step * speed.miss_s;
    const auto layers = static_cast<double>(shape.layers);
    const int64_t misses = std::lround(row.misses_per_step / layers);
    row.cpu_per_step = layers * cpu->shares()[static_cast<size_t>(misses)];
    return layers * cpu->seconds(misses);
  }
  const auto shares = cpu ? cpu->shares() : std::span<const int32_t>();
  const CacheFigures found = simulate_cache(routing, row.slots, inputs_.policy, warm_up_, shares);
  row.hit_rate = found.hit_rate();
  row.misses_per_step = found.misses_per_step();
  if (inputs_.traced)
    row.belady_hit_rate = simulate_optimum(routing, row.slots, warm_up_).hit_rate();
  if (!cpu || found.steps == 0) return row.misses_per_step * speed.miss_s;
  row.cpu_per_step = static_cast<double>(found.on_host) / static_cast<double>(found.steps);
  double seconds = 0;
  for (size_t m = 0; m < found.layers_with.size(); ++m)
    seconds += static_cast<double>(found.layers_with[m]) * cpu->seconds(static_cast<int64_t>(m));
  return seconds / static_cast<double>(found.steps);
}

std::optional<size_t> choose_row(const std::vector<PlanRow>& rows) {
  std::optional<size_t> best;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].fits || !rows[i].predicted_tok_s) continue;
    const auto is_better = [&](const PlanRow& a, const PlanRow& b) {
      return *a.predicted_tok_s > *b.predicted_tok_s ||
             (*a.predicted_tok_s == *b.predicted_tok_s && a.vram_bytes < b.vram_bytes);
    };
    if (!best || is_better(rows[i], rows[*best])) best = i;
  }
  return best;
}

std::string advice_of(const PlanResult& plan) {
  const std::string room = fmt::format("{} of {} are free on {}", format_bytes(plan.free_bytes),
                                       format_bytes(plan.device_bytes), plan.device);
  if (!plan.chosen)
    return fmt::format("none of the budgets can be had: {}, the least that works is {}", room,
                       format_bytes(plan.least_vram_bytes));
  const PlanRow& row = plan.rows[*plan.chosen];
  if (row.resident)
    return fmt::format("no --vram: {}, everything together takes {}, and nothing is faster", room,
                       format_bytes(row.resident_bytes));
  return fmt::format("--vram {}: {}, and of what fits it is the fastest", row.vram_bytes, room);
}

}  // namespace hlwq
