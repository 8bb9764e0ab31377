#include "text/bpe.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "text/piece_cache.h"

namespace hlwq {
namespace {

struct RandomModel {
  struct Merge {
    uint32_t rank;
    int32_t merged;
  };
  std::map<std::pair<int32_t, int32_t>, Merge> merges;
  Bpe bpe;
};

std::array<int32_t, 256> identity_bytes() {
  std::array<int32_t, 256> ids;
  for (int i = 0; i < 256; ++i) ids[static_cast<size_t>(i)] = i;
  return ids;
}

// Merges of random pairs of tokens over three letters, ranks in random order.
RandomModel random_model(std::mt19937& random) {
  const int merge_count = 40;
  RandomModel model{{}, Bpe(identity_bytes(), merge_count)};
  std::vector<std::string> strings = {"a", "b", "c"};
  std::vector<int32_t> ids = {'a', 'b', 'c'};
  std::vector<uint32_t> ranks(merge_count);
  for (uint32_t i = 0; i < merge_count; ++i) ranks[i] = i;
  std::shuffle(ranks.begin(), ranks.end(), random);
  for (int i = 0; i < merge_count; ++i) {
    const size_t left = random() % strings.size(), right = random() % strings.size();
    const std::string joined = strings[left] + strings[right];
    if (joined.size() > 12) continue;
    const auto same = std::find(strings.begin(), strings.end(), joined);
    const size_t at = static_cast<size_t>(same - strings.begin());
    const int32_t merged = same == strings.end() ? 256 + i : ids[at];
    if (!model.merges
             .emplace(std::pair(ids[left], ids[right]),
                      RandomModel::Merge{ranks[static_cast<size_t>(i)], merged})
             .second) {
      continue;
    }
    model.bpe.add_merge(ids[left], ids[right], ranks[static_cast<size_t>(i)], merged);
    if (same == strings.end()) {
      strings.push_back(joined);
      ids.push_back(merged);
    }
  }
  return model;
}

// The definition: find the lowest rank, merge its leftmost pair, repeat.
std::vector<int32_t> naive(const RandomModel& model, std::string_view piece) {
  std::vector<int32_t> ids;
  for (const char c : piece) ids.push_back(static_cast<uint8_t>(c));
  while (true) {
    size_t best = ids.size();
    RandomModel::Merge merge{~0u, 0};
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto it = model.merges.find({ids[i], ids[i + 1]});
      if (it != model.merges.end() && it->second.rank < merge.rank) {
        merge = it->second;
        best = i;
      }
    }
    if (best == ids.size()) return ids;
    ids[best] = merge.merged;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

TEST(Bpe, RandomAgainstNaive) {
  const unsigned seed = 4711;
  std::mt19937 random(seed);
  BpeScratch scratch;
  for (int round = 0; round < 200; ++round) {
    const RandomModel model = random_model(random);
    // Around the bound between the two methods, and far to both sides.
    for (const size_t bytes : {1, 2, 3, 7, 20, 63, 64, 65, 66, 150, 400}) {
      std::string piece;
      for (size_t i = 0; i < bytes; ++i) piece += "abc"[random() % (round % 3 + 1)];
      std::vector<int32_t> ids = {-7};  // appends
      model.bpe.encode(piece, scratch, ids);
      ASSERT_EQ(ids.front(), -7);
      ids.erase(ids.begin());
      ASSERT_EQ(ids, naive(model, piece)) << "seed " << seed << " round " << round << " " << piece;
    }
  }
}

// What stands around a byte without a token is merged as if it were not there, by both methods.
TEST(Bpe, BytesWithoutATokenAreLeftOut) {
  std::array<int32_t, 256> ids_of_bytes = identity_bytes();
  ids_of_bytes[4] = -1;
  Bpe bpe(ids_of_bytes, 1);
  bpe.add_merge('a', 'b', 0, 256);
  BpeScratch scratch;
  for (const int repeats : {1, 30}) {
    std::string piece = "\x04";
    std::vector<int32_t> want, ids;
    for (int i = 0; i < repeats; ++i) {
      piece +=
          "a\x04\x04"
          "bc\x04";
      want.insert(want.end(), {256, 'c'});
    }
    bpe.encode(piece, scratch, ids);
    EXPECT_EQ(ids, want);
    ids.clear();
    bpe.encode(std::string(static_cast<size_t>(repeats) * 4, '\x04'), scratch, ids);
    EXPECT_TRUE(ids.empty());
  }
}

// Quadratic methods take hours here.
TEST(Bpe, MegabyteOfOneLetter) {
  Bpe bpe(identity_bytes(), 2);
  bpe.add_merge('a', 'a', 0, 256);
  bpe.add_merge(256, 256, 1, 257);
  BpeScratch scratch;
  std::vector<int32_t> ids;
  bpe.encode(std::string((1 << 20) + 3, 'a'), scratch, ids);
  std::vector<int32_t> want((1 << 20) / 4, 257);
  want.push_back(256);
  want.push_back('a');
  EXPECT_EQ(ids, want);
}

TEST(Bpe, TheLastOfTwoMergesOfAPairCounts) {
  Bpe bpe(identity_bytes(), 1);
  bpe.add_merge('a', 'b', 0, 256);
  bpe.add_merge('a', 'b', 5, 257);
  BpeScratch scratch;
  std::vector<int32_t> ids;
  bpe.encode("ab", scratch, ids);
  EXPECT_EQ(ids, std::vector<int32_t>{257});
}

TEST(FlatMap, GrowsAndOverwrites) {
  FlatMap<int> map;
  for (int i = 0; i < 1000; ++i) map.set(static_cast<uint64_t>(i) << 32, i);
  map.set(0, -1);
  for (int i = 1; i < 1000; ++i) {
    const int* value = map.find(static_cast<uint64_t>(i) << 32);
    ASSERT_NE(value, nullptr);
    EXPECT_EQ(*value, i);
  }
  EXPECT_EQ(*map.find(0), -1);
  EXPECT_EQ(map.find(7), nullptr);
}

TEST(PieceCache, HoldsWhatWasStored) {
  PieceCache cache;
  const std::vector<int32_t> ids = {1, 2, 3};
  PieceCache::Entry& entry = cache.slot("piece");
  EXPECT_FALSE(PieceCache::holds(entry, "piece"));
  PieceCache::store(entry, "piece", ids);
  EXPECT_TRUE(PieceCache::holds(cache.slot("piece"), "piece"));
  EXPECT_FALSE(PieceCache::holds(entry, "piecf"));
  EXPECT_FALSE(PieceCache::holds(entry, "pie"));
  EXPECT_EQ(std::vector<int32_t>(entry.ids.begin(), entry.ids.begin() + entry.count), ids);
  const std::vector<int32_t> too_many(9, 7);
  PieceCache::store(entry, "other", too_many);
  EXPECT_TRUE(PieceCache::holds(entry, "piece"));
  EXPECT_TRUE(PieceCache::takes(std::string(30, 'x')));
  EXPECT_FALSE(PieceCache::takes(std::string(31, 'x')));
}

}  // namespace
}  // namespace hlwq
