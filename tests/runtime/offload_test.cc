// The equality matrix: the same logits, bit for bit, whatever the number of expert slots, their
// policy, the length of the prompt and the batch.

#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "runtime/perplexity.h"
#include "tests/runtime/offload_support.h"

namespace hlwq::test {
namespace {

constexpr int64_t kExperts = 32;  // of each of the tiny model's four MoE layers
constexpr int64_t kSteps = 64;

struct Shape {
  int64_t tokens, sequences;
};
const std::vector<Shape>& runs() {
  static const std::vector<Shape> all = {{1, 1}, {7, 1}, {300, 1}, {2000, 1},
                                         {1, 4}, {7, 4}, {300, 4}, {2000, 4}};
  return all;
}

struct Place {
  std::string backend;
  CachePolicy policy;
};
void PrintTo(const Place& place, std::ostream* out) { *out << place.backend; }
std::string name_of(const Place& place) {
  static const std::map<CachePolicy, std::string> names = {{CachePolicy::kLru, "lru"},
                                                           {CachePolicy::kLfru, "lfru"},
                                                           {CachePolicy::kFifo, "fifo"},
                                                           {CachePolicy::kFrecency, "frecency"}};
  std::string backend = place.backend;
  std::replace(backend.begin(), backend.end(), '-', '_');
  return backend + "_" + names.at(place.policy);
}

class EqualityMatrix : public testing::TestWithParam<Place> {
 protected:
  void SetUp() override {
    backend_ = offload_backend(GetParam().backend);
    if (backend_ == nullptr) GTEST_SKIP() << "no GPU here";
  }
  std::vector<std::string> digests(ExpertHome* home, const std::vector<Shape>& shapes = runs()) {
    auto model = load_tiny(*backend_, home);
    if (!model) throw std::runtime_error(model.error().message);
    std::vector<std::string> all;
    for (const Shape& run : shapes)
      all.push_back(run_digest(*backend_, **model, run.tokens, run.sequences, kSteps));
    stats_ = (*model)->take_expert_stats();
    return all;
  }

  std::unique_ptr<Backend> backend_;
  std::vector<ExpertLayerStats> stats_;
};

TEST_P(EqualityMatrix, GivesTheBitsOfResidentExperts) {
  const std::vector<std::string> resident = digests(nullptr);
  EXPECT_TRUE(stats_.empty());
  int64_t last_misses = -1;
  if (auto* const far = dynamic_cast<FarBackend*>(backend_.get())) far->guards_ = false;
  for (const int64_t slots : {int64_t{1}, int64_t{2}, int64_t{8}, int64_t{16}, kExperts}) {
    OffloadHome home({.slots_per_layer = slots, .policy = GetParam().policy});
    const std::vector<std::string> offloaded = digests(&home);
    for (size_t i = 0; i < runs().size(); ++i)
      EXPECT_EQ(offloaded[i], resident[i])
          << slots << " slots, prompt " << runs()[i].tokens << ", batch " << runs()[i].sequences;
    ASSERT_EQ(stats_.size(), 4u);
    int64_t hits = 0, misses = 0;
    for (const ExpertLayerStats& layer : stats_) hits += layer.hits, misses += layer.misses;
    EXPECT_EQ(misses == 0, slots == kExperts);
    if (slots >= 8) {
      EXPECT_GT(hits, 0);
    }
    if (last_misses >= 0) {
      EXPECT_LT(misses, last_misses) << "more slots, fewer misses";
    }
    last_misses = misses;
  }
  if (GetParam().backend != "cuda") {
    EXPECT_EQ(backend_->memory().allocated, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Tiny, EqualityMatrix,
    testing::Values(Place{"far-copies", CachePolicy::kLru}, Place{"far-copies", CachePolicy::kLfru},
                    Place{"far-copies", CachePolicy::kFifo},
                    Place{"far-copies", CachePolicy::kFrecency},
                    Place{"far-ops", CachePolicy::kLru}, Place{"cuda", CachePolicy::kLru},
                    Place{"cuda", CachePolicy::kLfru}, Place{"cuda", CachePolicy::kFifo},
                    Place{"cuda", CachePolicy::kFrecency}),
    [](const auto& test) { return name_of(test.param); });

// The same with some of the misses, or all, multiplied by the CPU: in decode steps, when the device
// asks, and beside streamed ones.
TEST_P(EqualityMatrix, GivesThemWhateverTheCpuMultiplies) {
  // A GPU has the time for all of them.
  const std::vector<Shape> shapes =
      GetParam().backend == "cuda" ? runs() : std::vector<Shape>{{1, 1}, {7, 4}, {300, 1}};
  const std::vector<std::string> resident = digests(nullptr, shapes);
  if (auto* const far = dynamic_cast<FarBackend*>(backend_.get())) far->guards_ = false;
  for (const std::optional<double> share :
       {std::optional(0.0), std::optional(0.5), std::optional(1.0), std::optional<double>()}) {
    for (const int64_t slots : {int64_t{1}, int64_t{8}}) {
      OffloadHome home({.slots_per_layer = slots,
                        .policy = GetParam().policy,
                        .cpu = *make_cpu_backend({.threads = 2}),
                        .cpu_share = share});
      const std::vector<std::string> shared = digests(&home, shapes);
      for (size_t i = 0; i < shapes.size(); ++i)
        EXPECT_EQ(shared[i], resident[i])
            << slots << " slots, share " << share.value_or(-1) << ", prompt " << shapes[i].tokens
            << ", batch " << shapes[i].sequences;
      int64_t misses = 0, on_host = 0;
      for (const ExpertLayerStats& layer : stats_) {
        misses += layer.misses;
        on_host += layer.on_host;
      }
      if (!share) continue;
      EXPECT_EQ(on_host == 0, *share == 0);
      if (*share == 0.5) {
        EXPECT_NEAR(static_cast<double>(on_host), 0.5 * static_cast<double>(misses),
                    0.1 * static_cast<double>(misses));
      }
      if (*share == 1.0) {
        EXPECT_GT(static_cast<double>(on_host), 0.9 * static_cast<double>(misses));
      }
    }
  }
}

class OnADevice : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    backend_ = offload_backend(GetParam());
    if (backend_ == nullptr) GTEST_SKIP() << "no GPU here";
  }
  std::unique_ptr<Backend> backend_;
};

INSTANTIATE_TEST_SUITE_P(Tiny, OnADevice, testing::Values("far-copies", "far-ops", "cuda"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// A pool that is a single slot for all layers: one buffer, everything else read in place.
TEST_P(OnADevice, WorksWithOneSlotInAll) {
  std::string resident;
  for (const bool offload : {false, true}) {
    OffloadHome home({.slots_per_layer = 1});
    auto* const far = dynamic_cast<FarBackend*>(backend_.get());
    if (offload && far != nullptr) {
      // Room for one slot after everything else.
      far->most_bytes_ = size_t{1} << 40;
    }
    auto model = load_tiny(*backend_, offload ? &home : nullptr);
    ASSERT_TRUE(model) << model.error().message;
    const std::string digest = run_digest(*backend_, **model, 40, 1, 8);
    if (offload) {
      EXPECT_EQ(digest, resident);
    }
    resident = digest;
  }
}

// Whatever it meets in between, a decode step of a sequence gives the bits it would have given.
TEST_P(OnADevice, DecodesBetweenStreamedSteps) {
  auto model = load_tiny(*backend_, nullptr);
  ASSERT_TRUE(model) << model.error().message;
  const std::string alone = run_digest(*backend_, **model, 7, 1, 32);
  OffloadHome home({.slots_per_layer = 6});
  model = load_tiny(*backend_, &home);
  ASSERT_TRUE(model) << model.error().message;
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(run_digest(*backend_, **model, 7, 1, 32), alone);
    (void)run_digest(*backend_, **model, 150, 4, 1);
  }
}

// Records of every form: other widths, wide levels, plain matrices.
TEST_P(OnADevice, TakesRecordsOfAnyForm) {
  const std::string plain = std::string(HLWQ_SOURCE_DIR) + "/models/tiny-nemotron-h";
  std::vector<std::unique_ptr<TemporaryCheckpoint>> coded;
  for (const Coding& coding : {Coding{.kind = CodebookKind::kGrid, .bits = 3},
                               Coding{.kind = CodebookKind::kOptimal, .bits = 7}})
    coded.push_back(
        std::make_unique<TemporaryCheckpoint>(code_matrices(read_tensors(plain), coding), plain));
  for (const std::string& folder : {coded[0]->folder(), coded[1]->folder(), plain}) {
    auto model = load_tiny(*backend_, nullptr, 512, {}, folder);
    ASSERT_TRUE(model) << model.error().message;
    const std::string resident = run_digest(*backend_, **model, 90, 1, 8);
    for (const int64_t slots : {int64_t{2}, int64_t{8}}) {
      OffloadHome home({.slots_per_layer = slots});
      model = load_tiny(*backend_, &home, 512, {}, folder);
      ASSERT_TRUE(model) << model.error().message;
      EXPECT_EQ(run_digest(*backend_, **model, 90, 1, 8), resident) << folder << ", " << slots;
    }
    model = fail(ErrorCode::kMissing, "");  // before its checkpoint and home
  }
}

// Perplexity to the last bit with one slot a layer and with all experts on the device.
TEST_P(OnADevice, MeasuresTheSamePerplexity) {
  std::vector<double> nll;
  for (const int64_t slots : {int64_t{1}, kExperts}) {
    OffloadHome home({.slots_per_layer = slots});
    auto model = load_tiny(*backend_, &home, 512);
    ASSERT_TRUE(model) << model.error().message;
    const ScoredModel scored{backend_.get(), model->get(), 512};
    ThreadPool pool(2);
    const auto report =
        measure_perplexity(scored, nullptr, prompt_ids(1, 1024), {.window = 256}, pool);
    ASSERT_TRUE(report) << report.error().message;
    nll.push_back(report->nll);
  }
  EXPECT_EQ(nll[0], nll[1]);
}

}  // namespace
}  // namespace hlwq::test
