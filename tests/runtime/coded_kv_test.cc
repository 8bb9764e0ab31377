// Sequences whose keys and values are codes: the same bits however a prompt is cut, whatever shares
// its steps, and from a snapshot; and what the codes cost.

#include <gtest/gtest.h>

#include <optional>
#include <stdexcept>

#include "base/random.h"
#include "kernels/backends.h"
#include "model/synthetic.h"
#include "runtime/perplexity.h"
#include "runtime/session.h"

namespace hlwq::test {
namespace {

constexpr int64_t kTokens = 330;

std::vector<int32_t> random_ids(size_t n, uint64_t seed) {
  std::vector<int32_t> ids(n);
  for (size_t i = 0; i < n; ++i) ids[i] = static_cast<int32_t>(random_bits(seed, i) % 256);
  return ids;
}

class CodedKv : public testing::TestWithParam<KvForm> {
 protected:
  void SetUp() override {
    auto backend = make_cpu_backend({.threads = 2});
    ASSERT_TRUE(backend) << backend.error().message;
    backend_ = std::move(*backend);
    auto model = make_synthetic_model("tiny", *backend_,
                                      {.tokens = 1024, .logit_rows = 1024, .context = 2 * kTokens});
    ASSERT_TRUE(model) << model.error().message;
    model_ = std::move(*model);
  }
  Session session(int64_t chunk, int64_t sequences = 1) {
    auto made = Session::create(
        *backend_, *model_,
        {.sequences = sequences, .context = 2 * kTokens, .kv = GetParam(), .prefill_chunk = chunk});
    if (!made) throw std::runtime_error(made.error().message);
    return std::move(*made);
  }
  // Feeds ids in pieces of at most `chunk`; the last token's logits.
  std::vector<float> feed(Session& session, int64_t slot, std::span<const int32_t> ids,
                          size_t chunk) {
    Buffer buffer = *session.allocate_logits(1);
    const MutF32View logits = dense(buffer.as<float>().data(), 1, session.vocabulary());
    for (size_t at = 0; at < ids.size(); at += chunk) {
      const SequenceInput input = {slot, ids.subspan(at, std::min(chunk, ids.size() - at))};
      const Status done = session.step({&input, 1}, LogitRows::kLast, logits);
      if (!done) throw std::runtime_error(done.error().message);
    }
    std::vector<float> row(static_cast<size_t>(session.vocabulary()));
    session.read_logits(logits, 0, row);
    return row;
  }
  std::vector<float> whole(std::span<const int32_t> ids) {
    Session one = session(kTokens);
    return feed(one, *one.open(), ids, kTokens);
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Model> model_;
};

TEST_P(CodedKv, CutsDoNotChangeBits) {
  const std::vector<int32_t> ids = random_ids(kTokens, 1);
  const std::vector<float> expected = whole(ids);
  for (const size_t chunk : {size_t{1}, size_t{63}, size_t{64}, size_t{200}}) {
    Session cut = session(static_cast<int64_t>(chunk));
    EXPECT_EQ(feed(cut, *cut.open(), ids, chunk), expected) << "pieces of " << chunk;
  }
}

TEST_P(CodedKv, NeighboursDoNotChangeBits) {
  Session many = session(kTokens, 3);
  const std::vector<int32_t> ids[3] = {random_ids(kTokens, 1), random_ids(200, 2),
                                       random_ids(90, 3)};
  std::vector<SequenceInput> inputs;
  for (const auto& of_one : ids) inputs.push_back({*many.open(), of_one});
  Buffer buffer = *many.allocate_logits(3);
  const MutF32View logits = dense(buffer.as<float>().data(), 3, many.vocabulary());
  for (int step = 0; step < 70; ++step) {
    ASSERT_TRUE(many.step(inputs, LogitRows::kLast, logits));
    for (SequenceInput& input : inputs)
      input.ids = std::span(ids[0]).subspan(static_cast<size_t>(step), 1);
  }
  for (int64_t s = 0; s < 3; ++s) {
    std::vector<int32_t> all = ids[s];
    all.insert(all.end(), ids[0].begin(), ids[0].begin() + 69);
    Session one = session(512);
    std::vector<float> got(static_cast<size_t>(many.vocabulary()));
    many.read_logits(logits, s, got);
    EXPECT_EQ(got, feed(one, *one.open(), all, 512)) << "sequence " << s;
  }
}

TEST_P(CodedKv, ASnapshotGoesOnWithTheSameBits) {
  const std::vector<int32_t> ids = random_ids(kTokens, 1);
  const std::vector<float> expected = whole(ids);
  Session shared = session(64, 3);
  auto store = SnapshotStore::create(*backend_, shared.pool(), 64 << 20);
  ASSERT_TRUE(store);
  for (const size_t at :
       {size_t{100}, size_t{128}, size_t{191}, size_t{192}, size_t{255}, size_t{321}}) {
    const int64_t slot = *shared.open();
    static_cast<void>(feed(shared, slot, std::span(ids).first(at), 64));
    auto snapshot = shared.save(slot, **store, {});
    ASSERT_TRUE(snapshot) << snapshot.error().message;
    // The sequence goes on, and another takes its place.
    static_cast<void>(feed(shared, slot, std::span(ids).subspan(at), 64));
    shared.close(slot);
    const int64_t other = *shared.open();
    static_cast<void>(feed(shared, other, random_ids(200, 9), 64));
    const int64_t again = *shared.open();
    ASSERT_TRUE(shared.restore(again, *snapshot));
    EXPECT_EQ(feed(shared, again, std::span(ids).subspan(at), 17), expected) << "from " << at;
    shared.close(other);
    shared.close(again);
  }
}

INSTANTIATE_TEST_SUITE_P(Widths, CodedKv,
                         testing::Values(KvForm{.key_bits = 3, .value_bits = 3},
                                         KvForm{.key_bits = 4, .value_bits = 2},
                                         KvForm{.key_bits = 16, .value_bits = 8}),
                         [](const testing::TestParamInfo<KvForm>& form) {
                           return "K" + std::to_string(form.param.key_bits) + "V" +
                                  std::to_string(form.param.value_bits);
                         });

// Fewer bits, more divergence; none within the window, whatever the chunk.
TEST(CodedKvDivergence, GrowsWithFewerBits) {
  const auto backend = make_reference_backend(Compute::kInt8);
  const auto model =
      make_synthetic_model("tiny", *backend, {.tokens = 64, .logit_rows = 64, .context = 300});
  ASSERT_TRUE(model);
  ThreadPool pool(2);
  const auto kl = [&](const KvForm& form, const KvForm& other, int64_t window, int64_t chunk) {
    const std::vector<int32_t> ids = random_ids(static_cast<size_t>(window), 4);
    const ScoredModel scored = {backend.get(), model->get(), 64, form};
    const ScoredModel reference = {backend.get(), model->get(), 64, other};
    const auto report = measure_perplexity(scored, &reference, ids,
                                           {.window = window, .windows = 1, .chunk = chunk}, pool);
    if (!report) throw std::runtime_error(report.error().message);
    return report->divergence->kl_mean;
  };
  const auto bits = [](int k, int v) { return KvForm{.key_bits = k, .value_bits = v}; };
  const double eight = kl(bits(8, 8), {}, 300, 64), four = kl(bits(4, 4), {}, 300, 64);
  const double two = kl(bits(2, 2), {}, 300, 64);
  EXPECT_GT(two, four);
  EXPECT_GT(four, eight);
  EXPECT_GT(eight, 0);
  // Rotated FP16 is not FP16, but nearly.
  EXPECT_LT(kl(bits(2, 2), {}, 192, 64), eight);
  EXPECT_EQ(kl(bits(3, 3), bits(3, 3), 300, 7), 0.0);
}

}  // namespace
}  // namespace hlwq::test
