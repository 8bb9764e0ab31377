// Expert offload when the machine says no: a smaller cache or an error, never another answer.

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/runtime/offload_support.h"

namespace hlwq::test {
namespace {

class OffloadFaults : public testing::Test {
 protected:
  static std::string digest_of(FarBackend& backend, ExpertHome* home) {
    auto model = load_tiny(backend, home, 512);
    if (!model) return "error: " + model.error().message;
    return run_digest(backend, **model, 100, 1, 8);
  }
  static FarBackend far() { return FarBackend(*make_cpu_backend({.threads = 2})); }
};

TEST_F(OffloadFaults, GoesOnWithoutPinnedMemory) {
  FarBackend backend = far();
  const std::string resident = digest_of(backend, nullptr);
  backend.refuses_pins_ = true;
  OffloadHome home({.slots_per_layer = 8});
  EXPECT_EQ(digest_of(backend, &home), resident);
  EXPECT_FALSE(home.device_reaches());
}

// The CPU multiplies what it reaches: without that it stays out of it, and a share that was asked
// for is an error.
TEST_F(OffloadFaults, TheCpuStaysOutOfWhatItCannotReach) {
  FarBackend backend = far();
  const std::string resident = digest_of(backend, nullptr);
  for (const bool in_file : {false, true}) {
    backend.refuses_pins_ = !in_file;
    for (const std::optional<double> share : {std::optional<double>(), std::optional(0.5)}) {
      OffloadHome home({.slots_per_layer = 8,
                        .file_folder = testing::TempDir(),
                        .always_file = in_file,
                        .cpu = *make_cpu_backend({.threads = 2}),
                        .cpu_share = share});
      const std::string digest = digest_of(backend, &home);
      if (share) {
        EXPECT_EQ(digest.find("error: experts on the CPU: "), 0u) << digest;
      } else {
        EXPECT_EQ(digest, resident);
      }
    }
  }
}

// A home whose experts of the first layer are damaged after the load.
class DamagedHome final : public ExpertHome {
 public:
  explicit DamagedHome(OffloadOptions options) : home_(std::move(options)) {}
  Status choose(const Backend& backend, size_t experts, size_t other) override {
    return home_.choose(backend, experts, other);
  }
  bool on_device() const override { return home_.on_device(); }
  bool device_reaches() const override { return home_.device_reaches(); }
  Result<Buffer> allocate(Backend& backend, size_t bytes, std::string_view what) override {
    return home_.allocate(backend, bytes, what);
  }
  Result<std::unique_ptr<ExpertRunner>> make_runner(Backend& backend, LoadedExperts experts,
                                                    size_t later) override {
    constexpr uint16_t kNan = 0x7e00;
    for (const Mlp& expert : experts.layers.front()) {
      const CodedShape shape = expert.up.coded_shape();
      auto* const norms = const_cast<std::byte*>(expert.up.data) + shape.norms_offset();
      for (int64_t i = 0; i < shape.rows * shape.blocks(); ++i)
        std::memcpy(norms + i * 2, &kNan, sizeof kNan);
    }
    return home_.make_runner(backend, std::move(experts), later);
  }

 private:
  OffloadHome home_;
};

// Values that are not finite fail the step, whoever met them.
TEST_F(OffloadFaults, FailsOnWhatIsNotFinite) {
  for (const int64_t tokens : {int64_t{1}, int64_t{100}})
    for (const double share : {0.0, 1.0}) {
      FarBackend backend = far();
      DamagedHome home(
          {.slots_per_layer = 1, .cpu = *make_cpu_backend({.threads = 2}), .cpu_share = share});
      auto model = load_tiny(backend, &home, 512);
      ASSERT_TRUE(model) << model.error().message;
      EXPECT_THROW(
          {
            try {
              run_digest(backend, **model, tokens, 1, 8);
            } catch (const std::runtime_error& error) {
              EXPECT_NE(std::string(error.what()).find("not finite"), std::string::npos);
              throw;
            }
          },
          std::runtime_error)
          << tokens << " tokens, share " << share;
    }
}

// Host memory too short for the experts: they lie in a scratch file, and give the same bits.
TEST_F(OffloadFaults, KeepsExpertsInAFile) {
  FarBackend backend = far();
  const std::string resident = digest_of(backend, nullptr);
  for (const bool refuses : {false, true}) {
    for (const Late late : {Late::kCopies, Late::kOps}) {
      backend.refuses_pins_ = refuses;
      backend.late_ = late;
      OffloadHome home(
          {.slots_per_layer = 8, .file_folder = testing::TempDir(), .always_file = true});
      EXPECT_EQ(digest_of(backend, &home), resident);
      EXPECT_FALSE(home.device_reaches());
    }
  }
}

// The descriptor of the nameless file that this process has open.
std::string path_of_scratch_file() {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string target = std::filesystem::read_symlink(entry.path(), error).string();
    if (!error && target.ends_with("(deleted)")) return entry.path().string();
  }
  return "";
}

// A file that becomes shorter under a running model is an error of the step, not the end of the
// process.
TEST_F(OffloadFaults, ReportsAFileThatBecameShorter) {
  FarBackend backend = far();
  OffloadHome home({.slots_per_layer = 8, .file_folder = testing::TempDir(), .always_file = true});
  auto model = load_tiny(backend, &home, 512);
  ASSERT_TRUE(model) << model.error().message;
  const std::string before = run_digest(backend, **model, 30, 1, 4);
  const std::string path = path_of_scratch_file();
  ASSERT_FALSE(path.empty());
  std::filesystem::resize_file(path, 4096);
  try {
    (void)run_digest(backend, **model, 30, 1, 4);
    FAIL() << "went on";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("a scratch file ends"), std::string::npos)
        << error.what();
  }
}

TEST_F(OffloadFaults, RefusesAFolderThatIsNotThere) {
  FarBackend backend = far();
  OffloadHome home({.slots_per_layer = 8, .file_folder = "/nowhere/at/all", .always_file = true});
  const auto model = load_tiny(backend, &home, 512);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kIo);
  EXPECT_NE(model.error().message.find("/nowhere/at/all: cannot make a scratch file"),
            std::string::npos)
      << model.error().message;
  EXPECT_EQ(backend.memory().allocated, 0u);
}

// The n-th allocation fails, for every n: an error that says what for, or a smaller cache.
TEST_F(OffloadFaults, SurvivesEveryFailedAllocation) {
  FarBackend backend = far();
  const std::string resident = digest_of(backend, nullptr);
  int64_t errors = 0, smaller = 0;
  for (int64_t n = 0;; ++n) {
    ASSERT_LT(n, 200);
    backend.fails_after_ = n;
    OffloadHome home({.slots_per_layer = 8});
    auto model = load_tiny(backend, &home, 512);
    const bool failed = backend.fails_after_ < 0;
    backend.fails_after_ = -1;
    if (!model) {
      ++errors;
      EXPECT_NE(model.error().message.find("no memory for"), std::string::npos)
          << model.error().message;
    } else {
      if (failed) ++smaller;
      EXPECT_EQ(run_digest(backend, **model, 100, 1, 8), resident) << n;
    }
    model = fail(ErrorCode::kMissing, "");
    EXPECT_EQ(backend.memory().allocated, 0u) << "a leak after failure " << n;
    if (!failed) break;
  }
  EXPECT_GT(errors, 3);
  EXPECT_GT(smaller, 0);
}

// Another process takes memory after the plan was made, while weights are read: fewer slots, the
// same answer.
TEST_F(OffloadFaults, TakesWhatTheDeviceStillHas) {
  FarBackend backend = far();
  const std::string resident = digest_of(backend, nullptr);
  constexpr size_t kLater = size_t{64} << 20;  // what is left to a driver
  for (const size_t room : {size_t{9} << 20, size_t{7} << 20, size_t{6} << 20}) {
    OffloadHome home({.slots_per_layer = 32});
    auto model = load_tiny(backend, &home, 512, [&](uint64_t, uint64_t) {
      backend.most_bytes_ = backend.memory().allocated + kLater + room;
    });
    ASSERT_TRUE(model) << model.error().message;
    backend.most_bytes_ = size_t{1} << 40;  // for the sequences
    EXPECT_EQ(run_digest(backend, **model, 100, 1, 8), resident);
    EXPECT_LT((*model)->weight_bytes(), size_t{9} << 20);  // all: 13.5 MB
  }
}

// The same after the load: sequences find no room, and get that of some slots.
TEST_F(OffloadFaults, GivesSlotsBackForSequences) {
  FarBackend backend = far();
  const std::string resident = digest_of(backend, nullptr);
  OffloadHome home({.slots_per_layer = 32, .piece_bytes = size_t{1} << 20});
  auto model = load_tiny(backend, &home, 512);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(run_digest(backend, **model, 100, 1, 8), resident);
  const size_t before = (*model)->weight_bytes();
  backend.most_bytes_ = backend.memory().allocated + (size_t{500} << 10);
  EXPECT_EQ(run_digest(backend, **model, 100, 1, 8), resident);
  EXPECT_LT((*model)->weight_bytes(), before);
  EXPECT_EQ(run_digest(backend, **model, 100, 1, 8), resident);
}

TEST_F(OffloadFaults, SaysWhatABudgetLacks) {
  FarBackend backend = far();
  OffloadHome home({.vram_bytes = 1 << 20});
  const auto model = load_tiny(backend, &home, 512);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kOutOfMemory);
  EXPECT_NE(
      model.error().message.find("--vram 1.05 MB: everything beside the routed experts needs"),
      std::string::npos)
      << model.error().message;
}

// A budget is kept at every moment of the load and after it, and used.
TEST_F(OffloadFaults, KeepsTheBudget) {
  FarBackend backend = far();
  const std::string resident = digest_of(backend, nullptr);
  for (const int64_t budget : {int64_t{76} << 20, int64_t{80} << 20, int64_t{1} << 30}) {
    backend.most_allocated_ = 0;
    OffloadHome home({.vram_bytes = budget});
    auto model = load_tiny(backend, &home, 512);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(run_digest(backend, **model, 100, 1, 8), resident);
    EXPECT_LE(backend.most_allocated_, static_cast<size_t>(budget));
    EXPECT_EQ(home.on_device(), budget > int64_t{200} << 20);
  }
}

// More than the card has: as many slots as there is room for, not a refusal.
TEST_F(OffloadFaults, TakesABudgetLargerThanTheCard) {
  FarBackend backend = far();
  const std::string resident = digest_of(backend, nullptr);
  backend.most_bytes_ = size_t{78} << 20;
  OffloadHome home({.vram_bytes = int64_t{1} << 40});
  auto model = load_tiny(backend, &home, 512);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_FALSE(home.on_device());
  backend.most_bytes_ = size_t{1} << 40;  // for the sequences
  EXPECT_EQ(run_digest(backend, **model, 100, 1, 8), resident);
}

// Nothing to keep elsewhere: all on the device, or an error.
TEST_F(OffloadFaults, RefusesABudgetThatAModelWithoutExpertsExceeds) {
  const FarBackend backend = far();
  OffloadHome small({.vram_bytes = 1000}), large({.vram_bytes = 10000});
  const Status refused = small.choose(backend, 0, 5000);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kOutOfMemory);
  EXPECT_NE(refused.error().message.find("no routed experts"), std::string::npos);
  ASSERT_TRUE(large.choose(backend, 0, 5000));
  EXPECT_TRUE(large.on_device());
}

// Pieces whose memory happens to touch are pieces all the same.
TEST(SlotPool, KnowsTheEdgesOfItsPieces) {
  FarBackend backend(*make_cpu_backend({.threads = 1}));
  SlotPool pool = SlotPool::allocate(backend, 10, 4096, 3 * 4096);
  ASSERT_EQ(pool.size(), 10);
  for (int64_t slot = 0; slot < 10; ++slot)
    EXPECT_EQ(pool.next_follows(slot), slot % 3 != 2 && slot != 9) << slot;
  EXPECT_EQ(pool.drop_last(1), 4096u);
  EXPECT_EQ(pool.drop_last(4097), 3u * 4096);
  EXPECT_EQ(pool.drop_last(4 * 4096), 3u * 4096);
  EXPECT_EQ(pool.size(), 3);
  EXPECT_FALSE(pool.next_follows(2));
  EXPECT_EQ(pool.drop_last(1), 0u) << "the first piece stays";
}

class HotnessFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::temp_directory_path() / ("hlwq_hotness_" + std::to_string(::getpid()));
    std::filesystem::create_directory(folder_);
    path_ = folder_ / "use.json";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_, path_;
};

TEST_F(HotnessFile, ComesBackAsItWas) {
  const std::vector<float> use = {0, 1.5f, 1000.25f, 3, 2, 1};
  ASSERT_TRUE(write_hotness(path_, {2, 3}, use));
  EXPECT_EQ(read_hotness(path_, {2, 3}), use);
  EXPECT_TRUE(read_hotness(path_, {3, 2}).empty()) << "of another model";
  EXPECT_TRUE(read_hotness(folder_ / "none.json", {2, 3}).empty());
}

TEST_F(HotnessFile, PassesOverWhatIsDamaged) {
  for (const char* text : {"", "{", "[]", "{\"layers\": 1, \"experts\": 2, \"uses\": [[1]]}",
                           "{\"layers\": 1, \"experts\": 2, \"uses\": [[1, -1]]}",
                           "{\"layers\": 1, \"experts\": 2, \"uses\": [[1, NaN]]}",
                           "{\"layers\": 1, \"experts\": 2, \"uses\": [[1, \"2\"]]}",
                           "{\"layers\": 1.5, \"experts\": 2, \"uses\": [[1, 2]]}"}) {
    std::ofstream(path_) << text;
    EXPECT_TRUE(read_hotness(path_, {1, 2}).empty()) << text;
  }
}

// What one run learned, the next begins with: the experts that were used are in slots.
TEST_F(HotnessFile, BeginsWithTheHotOnes) {
  FarBackend backend(*make_cpu_backend({.threads = 2}));
  const auto misses = [&](bool save) {
    OffloadHome home({.slots_per_layer = 8, .hotness_file = path_});
    auto model = load_tiny(backend, &home, 512);
    EXPECT_TRUE(model) << model.error().message;
    (void)run_digest(backend, **model, 1, 1, 12);
    int64_t sum = 0;
    for (const ExpertLayerStats& layer : (*model)->take_expert_stats()) sum += layer.misses;
    if (save) {
      EXPECT_TRUE(home.save_hotness());
    }
    return sum;
  };
  const int64_t cold = misses(true), warm = misses(false);
  EXPECT_LT(warm, cold);
}

}  // namespace
}  // namespace hlwq::test
