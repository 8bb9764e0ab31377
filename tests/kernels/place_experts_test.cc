// The choice of expert slots: every back end makes the moves of the host's version, call by call.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "kernels/backends.h"
#include "quant/block.h"
#include "tests/kernels/backends_under_test.h"
#include "tests/ops/expert_cache_support.h"

namespace hlwq::test {
namespace {

class PlaceExperts : public BackendTest {};

// The same expert in the same places of the two caches' memory.
void expect_same_address(const TestCache& got, const std::byte* a, const TestCache& want,
                         const std::byte* b) {
  const ExpertCacheShape& shape = want.cache().shape;
  const bool in_slot =
      b >= want.slot_memory() && b < want.slot_memory() + shape.slots * TestCache::kRecordBytes;
  EXPECT_EQ(a - (in_slot ? got.slot_memory() : got.home()),
            b - (in_slot ? want.slot_memory() : want.home()));
}

// Looks at the questions and answers them with rows that nobody reads.
class Listener final : public HostExperts {
 public:
  explicit Listener(const ExpertMailShape& shape)
      : memory_(*allocate_shared(static_cast<size_t>(lay_out_mail(shape, nullptr).bytes), "mail")),
        mail_(lay_out_mail(shape, memory_.data()).mail) {}
  [[nodiscard]] const ExpertMail& mail() const override { return mail_; }
  void serve(ExpertQuestions& questions) override {
    while (questions.next()) {
      question_ = *mail_.question;
      heard_.assign(mail_.experts, mail_.experts + question_.experts);
      ids_.assign(mail_.ids, mail_.ids + question_.tokens * mail_.shape.experts_used);
      first_byte_ = mail_.xq[0];
      last_sum_ = mail_.sum[question_.tokens * mail_.shape.blocks - 1];
      *mail_.rows = 0;
      questions.answer();
    }
  }

  std::vector<int32_t> heard_, ids_;
  ExpertQuestion question_;
  int8_t first_byte_ = 0;
  int32_t last_sum_ = 0;

 private:
  Buffer memory_;
  ExpertMail mail_;
};

void expect_same(const TestCache& got, const TestCache& want, int64_t layer,
                 const std::vector<int32_t>& ids) {
  const ExpertCache &g = got.cache(), &w = want.cache();
  const ExpertCacheShape& shape = w.shape;
  for (int64_t s = 0; s < shape.slots; ++s) {
    EXPECT_EQ(g.slots[s].key, w.slots[s].key) << "slot " << s;
    EXPECT_EQ(g.slots[s].filled, w.slots[s].filled);
  }
  for (int64_t key = 0; key < shape.keys(); ++key) {
    EXPECT_EQ(g.slot_of[key], w.slot_of[key]);
    EXPECT_EQ(g.uses[key].last, w.uses[key].last);
    EXPECT_EQ(g.uses[key].weight, w.uses[key].weight);
  }
  for (int64_t l = 0; l < shape.layers; ++l) {
    EXPECT_EQ(g.held[l], w.held[l]);
    EXPECT_EQ(g.steps[l], w.steps[l]);
    EXPECT_EQ(g.counts[l].hits, w.counts[l].hits);
    EXPECT_EQ(g.counts[l].misses, w.counts[l].misses);
    EXPECT_EQ(g.counts[l].in_place, w.counts[l].in_place);
    EXPECT_EQ(g.counts[l].on_host, w.counts[l].on_host);
  }
  for (const int32_t id : ids) {
    const auto e = static_cast<size_t>(id);
    EXPECT_EQ(got.table()[e].up == nullptr, want.table()[e].up == nullptr);
    if (got.table()[e].up == nullptr) continue;
    expect_same_address(got, got.table()[e].up, want, want.table()[e].up);
    expect_same_address(got, got.table()[e].down, want, want.table()[e].down);
    EXPECT_EQ(TestCache::record_at(got.table()[e].up), layer * shape.experts + id);
  }
}

TEST_P(PlaceExperts, MakesTheMovesOfTheHost) {
  const auto backend = make({});
  for (const CachePolicy policy :
       {CachePolicy::kLru, CachePolicy::kLfru, CachePolicy::kFifo, CachePolicy::kFrecency}) {
    for (const ExpertCacheShape& shape :
         {ExpertCacheShape{.layers = 3, .experts = 20, .slots = 12, .least_per_layer = 2},
          ExpertCacheShape{.layers = 1, .experts = 7, .slots = 1},
          ExpertCacheShape{.layers = 2, .experts = 300, .slots = 560, .least_per_layer = 30},
          ExpertCacheShape{.layers = 4, .experts = 600, .slots = 1300, .least_per_layer = 81}}) {
      ExpertCacheShape with_policy = shape;
      with_policy.policy = policy;
      TestCache want(with_policy), got(with_policy, allocate_shared);
      const Buffer memory = *allocate_shared(4096 * sizeof(int32_t), "ids");
      auto* const shared_ids = memory.as<int32_t>().data();
      for (uint64_t call = 0; call < 40; ++call) {
        const auto layer = static_cast<int64_t>(call * 7 / 3 % static_cast<uint64_t>(shape.layers));
        const uint64_t most = static_cast<uint64_t>(shape.experts) * 2;
        const std::vector<int32_t> ids =
            random_choices(call, shape.experts, call % 5 == 4 ? most : 1 + call % 9);
        std::memcpy(shared_ids, ids.data(), ids.size() * sizeof(int32_t));
        want.place(layer, ids);
        backend->place_experts({.cache = got.cache(),
                                .layer = layer,
                                .ids = shared_ids,
                                .choices = static_cast<int64_t>(ids.size()),
                                .table = got.table().data()});
        expect_same(got, want, layer, ids);
        got.check_consistent();
        if (HasFailure()) return;
      }
    }
  }
}

// The host gets the share that its mail says of what is in no slot, and all it needs for it.
TEST_P(PlaceExperts, HandsOverToTheHost) {
  constexpr int64_t kMostTokens = 40, kBlocks = 3, kWidth = 8;
  for (const CachePolicy policy :
       {CachePolicy::kLru, CachePolicy::kLfru, CachePolicy::kFifo, CachePolicy::kFrecency}) {
    for (const int64_t used : {int64_t{3}, int64_t{1}}) {
      const ExpertCacheShape shape = {.layers = 3, .experts = 200, .slots = 90, .policy = policy};
      const auto backend = make({.tokens = kMostTokens,
                                 .width = kWidth,
                                 .mlp_width = kWidth,
                                 .experts = shape.experts,
                                 .experts_used = used});
      TestCache want(shape), got(shape, allocate_shared);
      Listener listener({.experts = shape.experts,
                         .experts_used = used,
                         .tokens = kMostTokens,
                         .blocks = kBlocks,
                         .width = kWidth});
      for (int64_t m = 0; m <= shape.experts; ++m)
        listener.mail().shares[m] = static_cast<int32_t>(m % 3 == 0 ? m : m / 2);
      const Buffer memory = *allocate_shared(kMostTokens * 8 * sizeof(int32_t), "ids");
      const Buffer rows = *allocate_shared(kMostTokens * kBlocks * (kBlock + 8), "rows");
      auto* const shared_ids = memory.as<int32_t>().data();
      QuantizedView x{.xq = reinterpret_cast<int8_t*>(rows.data()), .blocks = kBlocks};
      x.sx = reinterpret_cast<float*>(rows.data() + kMostTokens * kBlocks * kBlock);
      x.sum = reinterpret_cast<int32_t*>(x.sx + kMostTokens * kBlocks);
      int64_t handed_over = 0;
      for (uint64_t call = 0; call < 60; ++call) {
        const auto layer = static_cast<int64_t>(call % 3);
        x.rows = call % 4 == 3 ? kMostTokens : call % 4 == 2 ? 7 : 1;
        const std::vector<int32_t> ids = random_choices(
            call, shape.experts, static_cast<uint64_t>(x.rows) * static_cast<uint64_t>(used));
        std::memcpy(shared_ids, ids.data(), ids.size() * sizeof(int32_t));
        x.xq[0] = static_cast<int8_t>(call);
        x.sum[x.rows * kBlocks - 1] = static_cast<int32_t>(call) + 7;
        want.place(layer, ids, listener.mail().shares);
        listener.heard_.clear();
        std::vector<int32_t> wanted;
        for (int32_t e = 0; e < shape.experts; ++e)
          if (std::find(ids.begin(), ids.end(), e) != ids.end() &&
              want.table()[static_cast<size_t>(e)].up == nullptr)
            wanted.push_back(e);
        backend->place_experts({.cache = got.cache(),
                                .layer = layer,
                                .ids = shared_ids,
                                .choices = static_cast<int64_t>(ids.size()),
                                .table = got.table().data(),
                                .host = &listener,
                                .x = x});
        EXPECT_EQ(listener.heard_, wanted);
        handed_over += static_cast<int64_t>(wanted.size());
        if (!wanted.empty()) {
          EXPECT_EQ(listener.question_.layer, layer);
          EXPECT_EQ(listener.question_.tokens, x.rows);
          EXPECT_EQ(listener.ids_, ids);
          EXPECT_EQ(listener.first_byte_, x.xq[0]);
          EXPECT_EQ(listener.last_sum_, static_cast<int32_t>(call) + 7);
        }
        expect_same(got, want, layer, ids);
        got.check_consistent();
        if (HasFailure()) return;
      }
      EXPECT_GT(handed_over, 60);
    }
  }
}

HLWQ_ON_EVERY_BACKEND(PlaceExperts);

}  // namespace
}  // namespace hlwq::test
