// Plans: the arithmetic with numbers that are given, and a whole plan on a device that is
// simulated. How fast anything is, is nowhere asserted.

#include "hlwq/plan.h"

#include <gtest/gtest.h>

#include "api/plan_calibration.h"
#include "api/plan_on.h"
#include "api/plan_rows.h"
#include "hlwq/engine.h"
#include "kernels/backends.h"
#include "model/synthetic.h"
#include "runtime/experts/offload_home.h"
#include "runtime/session.h"
#include "tests/io/temp_folder.h"
#include "tests/ops/far_backend.h"

namespace hlwq::test {
namespace {

using testing_support::TempFolder;

constexpr int64_t kMega = 1'000'000;

PlanInputs inputs_of(int64_t batch = 1) {
  PlanInputs inputs{.total_bytes = 24'000 * kMega,
                    .used_bytes = 500 * kMega,
                    .expert_bytes = 8 * 32 * 10 * kMega,
                    .embedding_bytes = 200 * kMega,
                    .other_bytes = 1'000 * kMega,
                    .scratch_bytes = 50 * kMega,
                    .later_bytes = 300 * kMega,
                    .slot_bytes = 10 * kMega,
                    .shape = {.layers = 8, .experts = 32, .used = 4},
                    .speed = {.resident_step_s = 0.0019, .cached_step_s = 0.002, .miss_s = 0.0002}};
  inputs.routing = even_routing(inputs.shape, batch, 100, 1);
  return inputs;
}

TEST(PlanRows, TheLadderClimbsToEverything) {
  const PlanInputs inputs = inputs_of();
  const PlanRows rows(inputs);
  const std::vector<int64_t> ladder = rows.ladder();
  ASSERT_EQ(ladder.size(), 3u);  // 8, 16, all
  PlanRow last;
  for (size_t i = 0; i < ladder.size(); ++i) {
    const PlanRow row = rows.row(ladder[i]);
    EXPECT_EQ(row.slots, std::vector<int64_t>({64, 128, 256})[i]);
    EXPECT_EQ(row.slots_per_layer, std::vector<int64_t>({8, 16, 32})[i]);
    EXPECT_LE(row.resident_bytes, row.vram_bytes);
    EXPECT_TRUE(row.fits);
    EXPECT_GT(*row.predicted_tok_s, last.predicted_tok_s.value_or(0));
    EXPECT_GT(row.hit_rate, last.hit_rate);
    EXPECT_EQ(row.resident, i == 2);
    EXPECT_EQ(row.host_bytes, row.resident ? 0 : inputs.expert_bytes + inputs.embedding_bytes);
    EXPECT_FALSE(row.belady_hit_rate);
    last = row;
  }
  EXPECT_EQ(ladder.back(), (500 + 2560 + 200 + 1000 + 50 + 300) * kMega);
  EXPECT_DOUBLE_EQ(*last.predicted_tok_s, 1 / 0.0019);
}

TEST(PlanRows, TheLadderEndsAtTheDevice) {
  PlanInputs inputs = inputs_of();
  inputs.total_bytes = 3'000 * kMega;
  const PlanRows rows(inputs);
  const std::vector<int64_t> ladder = rows.ladder();
  ASSERT_EQ(ladder.size(), 2u);  // 8 slots take 2,490 MB, 16 more than there is
  EXPECT_EQ(ladder.back(), inputs.total_bytes);
  EXPECT_GT(rows.row(ladder.back()).slots, rows.row(ladder.front()).slots);
  inputs.shape.experts = 2;
  EXPECT_EQ(rows.row(rows.ladder().front()).slots_per_layer, 1);
}

TEST(PlanRows, MoreMemoryIsMoreSlots) {
  const PlanInputs inputs = inputs_of();
  const PlanRows rows(inputs);
  int64_t last = 0;
  for (int64_t vram = rows.least_bytes(); vram < rows.resident_bytes() + 50 * kMega;
       vram += 37 * kMega) {
    const PlanRow row = rows.row(vram);
    EXPECT_GE(row.slots, std::max<int64_t>(last, 1));
    EXPECT_LE(row.resident_bytes, vram);
    EXPECT_NEAR(1 / *row.predicted_tok_s,
                row.resident ? 0.0019 : 0.002 + 0.0002 * row.misses_per_step, 1e-12);
    EXPECT_NEAR(row.misses_per_step, 32 * (1 - row.hit_rate), 1e-9);
    last = row.slots;
  }
  EXPECT_EQ(last, 256);
  const PlanRow none = rows.row(rows.least_bytes() - 1);
  EXPECT_EQ(none.slots, 0);
  EXPECT_FALSE(none.predicted_tok_s);
}

TEST(PlanRows, TracedRoutingHasABestAndBatchesMayStream) {
  PlanInputs inputs = inputs_of();
  inputs.traced = true;
  const PlanRow traced = PlanRows(inputs).row(PlanRows(inputs).ladder().front());
  ASSERT_TRUE(traced.belady_hit_rate);
  EXPECT_GE(*traced.belady_hit_rate, traced.hit_rate);
  const PlanInputs batch = inputs_of(16);
  const PlanRow streamed = PlanRows(batch).row(PlanRows(batch).ladder().front());
  EXPECT_TRUE(streamed.streamed);
  EXPECT_DOUBLE_EQ(streamed.hit_rate, 0.25);
  EXPECT_GT(streamed.misses_per_step, 8 * 4);
}

TEST(PlanRows, TheFastestThatFitsIsChosen) {
  PlanResult plan{.device = "cuda", .device_bytes = 24'000 * kMega, .free_bytes = 23'500 * kMega};
  EXPECT_FALSE(choose_row(plan.rows));
  EXPECT_NE(advice_of(plan).find("none"), std::string::npos);
  for (const double rate : {50.0, 70.0, 70.0, 90.0})
    plan.rows.push_back({.vram_bytes = static_cast<int64_t>(plan.rows.size() + 7) * 1'000 * kMega,
                         .fits = rate < 80,
                         .predicted_tok_s = rate});
  plan.chosen = choose_row(plan.rows);
  EXPECT_EQ(plan.chosen, 1u);
  EXPECT_NE(advice_of(plan).find("--vram 8000000000: 23.5 GB of 24.0 GB are free on cuda"),
            std::string::npos)
      << advice_of(plan);
  plan.rows[1].resident = true;
  EXPECT_EQ(advice_of(plan).find("no --vram"), 0u);
}

// Misses are split between bus and CPU as a run would, and cost what the slower of both takes.
TEST(PlanRows, KnowsWhatTheCpuTakes) {
  PlanInputs inputs = inputs_of();
  const int64_t budget = 2'500 * kMega;
  const PlanRow alone = PlanRows(inputs).row(budget);
  ASSERT_TRUE(alone.predicted_tok_s);
  EXPECT_EQ(alone.cpu_per_step, 0);
  inputs.speed.cpu_s = inputs.speed.bus_s = 0.0002;
  const PlanRow split = PlanRows(inputs).row(budget);
  EXPECT_GT(split.cpu_per_step, 0.3 * split.misses_per_step);
  EXPECT_LT(split.cpu_per_step, 0.7 * split.misses_per_step);
  EXPECT_GT(*split.predicted_tok_s, *alone.predicted_tok_s);
  for (const double share : {0.0, 1.0}) {
    inputs.cpu_share = share;
    const PlanRow fixed = PlanRows(inputs).row(budget);
    EXPECT_DOUBLE_EQ(fixed.cpu_per_step, share * fixed.misses_per_step);
    const double seconds = 1 / *fixed.predicted_tok_s - inputs.speed.cached_step_s;
    const double least = fixed.misses_per_step * 0.0002;
    EXPECT_GE(seconds, least * 0.999);
    EXPECT_LE(seconds, least + 8 * 20e-6);
  }
  // A batch of more than the slots hold.
  inputs = inputs_of(64);
  inputs.speed.cpu_s = inputs.speed.bus_s = 0.0002;
  const PlanRow streamed = PlanRows(inputs).row(budget);
  EXPECT_TRUE(streamed.streamed);
  EXPECT_GT(streamed.cpu_per_step, 0);
}

std::unique_ptr<FarBackend> far_backend(size_t bytes) {
  auto far = std::make_unique<FarBackend>(*make_cpu_backend({.threads = 2}));
  far->most_bytes_ = bytes;
  far->guards_ = false;  // sessions and offload have tests of what touches its memory
  return far;
}

PlanRequest tiny_plan() {
  return {.synthetic = "tiny", .options = {.context = 300, .prefill_chunk = 32}};
}

TEST(Plan, OfAModelInMemory) {
  const auto device = far_backend(size_t{200} << 20);
  const auto plan = plan_on(*device, tiny_plan());
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(device->memory().allocated, 0u);
  EXPECT_EQ(plan->moe_layers, 3);
  EXPECT_EQ(plan->experts, 16);
  EXPECT_EQ(plan->expert_record_bytes * 3 * 16, plan->expert_bytes);
  ASSERT_EQ(plan->rows.size(), 2u);  // 8 slots a layer, all
  EXPECT_EQ(plan->rows[0].slots, 24);
  EXPECT_TRUE(plan->rows[1].resident);
  EXPECT_GT(plan->resident_step_s, 0);
  EXPECT_GT(plan->cached_step_s, 0);
  EXPECT_GE(plan->miss_s, 0);
  EXPECT_GT(plan->cpu_expert_s, 0);
  EXPECT_GT(plan->bus_expert_s, 0);
  EXPECT_TRUE(plan->chosen);
  for (const PlanRow& row : plan->rows) EXPECT_GT(*row.predicted_tok_s, 0);
}

// The load finds the slots that were planned, and no byte more than the budget is taken.
TEST(Plan, IsWhatALoadDoes) {
  const auto device = far_backend(size_t{200} << 20);
  PlanRequest request = tiny_plan();
  const auto ladder = plan_on(*device, request);
  ASSERT_TRUE(ladder) << ladder.error().message;
  const int64_t least = ladder->least_vram_bytes, most = ladder->rows.back().vram_bytes;
  request.vram_bytes = {least - 1, least, least + (most - least) / 3, most - 1, most};
  const auto plan = plan_on(*device, request);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->rows[0].slots, 0);
  EXPECT_FALSE(plan->rows[0].predicted_tok_s);
  for (size_t i = 1; i < plan->rows.size(); ++i) {
    const PlanRow& row = plan->rows[i];
    EXPECT_LE(row.resident_bytes, row.vram_bytes);
    EXPECT_GE(row.slots, plan->rows[i - 1].slots);
    OffloadHome home({.vram_bytes = row.vram_bytes});
    const SequencePoolOptions pool = {.sequences = 1, .context = 300};
    const auto model = make_synthetic_model(
        "tiny", *device, {.tokens = 32, .logit_rows = 32, .context = 300},
        [&](const StateShape& shape, bool, int64_t) {
          return SequencePool::bytes_for(shape, pool);
        },
        &home);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(home.on_device(), row.resident);
    const auto sequences = SequencePool::create(*device, (*model)->state_shape(), pool);
    ASSERT_TRUE(sequences);
    // All but what is left to the driver, which is not there.
    constexpr int64_t kDriver = int64_t{64} << 20;
    const auto taken = static_cast<int64_t>(device->memory().allocated);
    // Nor the addresses of experts that all are resident, which are left to it too.
    EXPECT_LE(taken + kDriver, row.resident_bytes + (row.resident ? 1024 : 0));
    EXPECT_GE(taken + kDriver + int64_t{64} * 1024, row.resident_bytes);
  }
  request.vram_bytes = {1000, least - 1};
  const auto refused = plan_on(*device, request);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kOutOfMemory);
}

TEST(Plan, TakesATrace) {
  const TempFolder folder;
  const std::string path = folder.file("trace");
  {
    auto engine = Engine::open_synthetic("tiny:skew=3", {.device = "cpu", .context = 300});
    ASSERT_TRUE(engine);
    const auto result = engine->generate({.ids = {1, 2, 3},
                                          .max_tokens = 100,
                                          .sampling = {.temperature = 1.0, .seed = 1},
                                          .trace = path});
    ASSERT_TRUE(result) << result.error().message;
  }
  const auto device = far_backend(size_t{200} << 20);
  PlanRequest request = tiny_plan();
  request.trace = path;
  const auto plan = plan_on(*device, request);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->traced_steps, 99);
  EXPECT_GE(*plan->rows[0].belady_hit_rate, plan->rows[0].hit_rate);

  request.synthetic = "tiny:layers=3";
  const auto other = plan_on(*device, request);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(other.error().message.find(path), std::string::npos);
  request.trace = folder.file("none");
  EXPECT_EQ(plan_on(*device, request).error().code, ErrorCode::kMissing);
}

TEST(Plan, OfACheckpointAndOfSequencesSideBySide) {
  const auto device = far_backend(size_t{400} << 20);
  PlanRequest request = {.model = std::string(HLWQ_SOURCE_DIR) + "/models/tiny-nemotron-h",
                         .options = {.context = 300, .prefill_chunk = 32},
                         .batch = 3};
  const auto plan = plan_on(*device, request);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->batch, 3);
  EXPECT_EQ(plan->experts, 32);
  request.batch = 1;
  const auto single = plan_on(*device, request);
  ASSERT_TRUE(single);
  EXPECT_LT(single->rows.back().resident_bytes, plan->rows.back().resident_bytes);
}

TEST(Plan, OfAModelWithoutExpertsIsAllOrNothing) {
  const auto device = far_backend(size_t{200} << 20);
  PlanRequest request = tiny_plan();
  request.synthetic = "tiny:layers=1";
  const auto plan = plan_on(*device, request);
  ASSERT_TRUE(plan) << plan.error().message;
  ASSERT_EQ(plan->rows.size(), 1u);
  EXPECT_TRUE(plan->rows[0].resident);
  EXPECT_EQ(plan->least_vram_bytes, plan->rows[0].vram_bytes);
  request.vram_bytes = {plan->least_vram_bytes - 1};
  EXPECT_EQ(plan_on(*device, request).error().code, ErrorCode::kOutOfMemory);
}

TEST(Plan, NeedsADeviceWithMemoryOfItsOwn) {
  PlanRequest request = tiny_plan();
  request.options.device = "cpu";
  const auto refused = plan(request);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  for (const int64_t batch : {int64_t{0}, int64_t{5000}}) {
    request.batch = batch;
    EXPECT_EQ(plan(request).error().code, ErrorCode::kInvalidArgument);
  }
  request.batch = 1;
  request.model = "x";
  EXPECT_EQ(plan(request).error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace hlwq::test
