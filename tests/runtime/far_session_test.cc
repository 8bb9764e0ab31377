// Sessions on a device whose memory is not the host's: the same ids and figures as on the host,
// with one wait for the device a token.

#include <gtest/gtest.h>

#include "model/synthetic.h"
#include "runtime/generate.h"
#include "runtime/perplexity.h"
#include "tests/ops/far_backend.h"

namespace hlwq::test {
namespace {

std::vector<int32_t> random_ids(size_t count) {
  std::vector<int32_t> ids(count);
  for (size_t i = 0; i < count; ++i) ids[i] = static_cast<int32_t>((i * i * 7 + 3 * i + 1) % 512);
  return ids;
}

std::unique_ptr<Model> tiny_model(Backend& backend) {
  auto model =
      make_synthetic_model("tiny", backend, {.tokens = 64, .logit_rows = 64, .context = 300});
  if (!model) throw std::runtime_error(model.error().message);
  return std::move(*model);
}

Generated generate_on(Backend& backend, const SamplerSettings& sampler) {
  const auto model = tiny_model(backend);
  auto session = Session::create(backend, *model, {.context = 300, .prefill_chunk = 16});
  if (!session) throw std::runtime_error(session.error().message);
  auto out = generate(*session, random_ids(40), {.max_tokens = 60, .sampler = sampler});
  if (!out) throw std::runtime_error(out.error().message);
  return std::move(*out);
}

TEST(FarSession, GeneratesTheSameIds) {
  for (const SamplerSettings& sampler :
       {SamplerSettings{.temperature = 0},
        SamplerSettings{.temperature = 0.9, .top_p = 0.9, .repeat_penalty = 1.1, .seed = 5}}) {
    const auto host = make_reference_backend(Compute::kInt8);
    FarBackend device(make_reference_backend(Compute::kInt8));
    EXPECT_EQ(generate_on(device, sampler).ids, generate_on(*host, sampler).ids);
    EXPECT_EQ(device.replays_, 58) << "one recording, and 58 of 59 steps repeat it";
    EXPECT_EQ(device.memory().allocated, 0u);
  }
}

// The prompt: one check, one draw. Every token after: a draw, which waits, and the check behind it,
// which then finds the device idle.
TEST(FarSession, WaitsForTheDrawOfAToken) {
  FarBackend device(make_reference_backend(Compute::kInt8));
  (void)generate_on(device, {.temperature = 0});
  EXPECT_EQ(device.waits_, 2 + 2 * 59);
}

TEST(FarSession, MeasuresTheSamePerplexity) {
  const std::vector<int32_t> ids = random_ids(150);
  const auto measure = [&](Backend& backend) {
    const auto model = tiny_model(backend);
    const ScoredModel scored{&backend, model.get(), 64};
    ThreadPool pool(2);
    const auto report = measure_perplexity(scored, &scored, ids, {.window = 50}, pool);
    if (!report) throw std::runtime_error(report.error().message);
    EXPECT_EQ(report->divergence->kl_mean, 0.0);
    return report->nll;
  };
  const auto host = make_reference_backend(Compute::kInt8);
  FarBackend device(make_reference_backend(Compute::kInt8));
  EXPECT_EQ(measure(device), measure(*host));
}

}  // namespace
}  // namespace hlwq::test
