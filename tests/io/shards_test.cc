#include "io/shards.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/log.h"
#include "io/json.h"
#include "tests/io/temp_folder.h"

namespace hlwq {
namespace {

using testing_support::get;
using testing_support::put;
using testing_support::TempFolder;
using Names = std::vector<std::string>;

// A shard of one-byte-per-element tensors; tensor i of it is filled with the first letter of its
// name.
void put_shard(const std::string& path,
               const std::vector<std::pair<std::string, int64_t>>& tensors) {
  std::vector<TensorEntry> entries;
  for (const auto& [name, count] : tensors)
    entries.push_back({.name = name, .dtype = DType::kU8, .shape = {count}});
  Result<SafetensorsWriter> writer = SafetensorsWriter::create(path, entries, {});
  ASSERT_TRUE(writer.has_value()) << writer.error().message;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::vector<std::byte> bytes(static_cast<size_t>(tensors[i].second),
                                       static_cast<std::byte>(tensors[i].first[0]));
    ASSERT_TRUE(writer->write(i, 0, bytes).has_value());
  }
  ASSERT_TRUE(writer->commit().has_value());
}

void put_index(const TempFolder& folder, std::string_view text) {
  put(folder.file("model.safetensors.index.json"), text);
}

// Two shards with "a", "b" and "c".
void put_two(const TempFolder& folder) {
  put_shard(folder.file("model-00001-of-00002.safetensors"), {{"b", 3}, {"a", 2}});
  put_shard(folder.file("model-00002-of-00002.safetensors"), {{"c", 5}});
}

constexpr std::string_view kIndex =
    R"({"metadata":{"total_size":10},"weight_map":{"a":"model-00001-of-00002.safetensors",)"
    R"("b":"model-00001-of-00002.safetensors","c":"model-00002-of-00002.safetensors"}})";

std::string content(const ShardSet& set, std::string_view name) {
  const std::optional<ShardTensor> tensor = set.find(name);
  if (!tensor) return "absent";
  std::string bytes(tensor->entry->bytes(), '?');
  const Status status = set.read(*tensor, 0, std::as_writable_bytes(std::span(bytes)));
  return status ? bytes : status.error().message;
}

void expect_two(const ShardSet& set) {
  ASSERT_EQ(set.tensors().size(), 3u);
  EXPECT_EQ(set.tensors()[0].entry->name, "b");  // order of the files, not of the names
  EXPECT_EQ(set.tensors()[2].entry->name, "c");
  EXPECT_EQ(content(set, "a"), "aa");
  EXPECT_EQ(content(set, "b"), "bbb");
  EXPECT_EQ(content(set, "c"), "ccccc");
  EXPECT_EQ(content(set, "d"), "absent");
}

void expect_refusal(const std::string& path, ErrorCode code, const Names& parts) {
  const Result<ShardSet> set = ShardSet::open(path);
  ASSERT_FALSE(set.has_value());
  EXPECT_EQ(set.error().code, code) << set.error().message;
  for (const std::string& part : parts)
    EXPECT_NE(set.error().message.find(part), std::string::npos) << set.error().message;
}

TEST(ShardSet, ReadsThroughAnIndex) {
  const TempFolder folder;
  put_two(folder);
  put_shard(folder.file("unrelated.safetensors"), {{"a", 9}});  // the index does not name it
  put_index(folder, kIndex);
  Result<ShardSet> set = ShardSet::open(folder.path());
  ASSERT_TRUE(set.has_value()) << set.error().message;
  EXPECT_EQ(set->files().size(), 2u);
  EXPECT_EQ(set->folder(), folder.path());
  expect_two(*set);
  // Views must survive a move of the set.
  const ShardSet moved = std::move(*set);
  expect_two(moved);
}

TEST(ShardSet, ReadsEveryFileWithoutAnIndex) {
  const TempFolder folder;
  put_two(folder);
  put(folder.file("config.json"), "{}");
  put(folder.file(".model.safetensors.tmp-1-0"), "unfinished");
  put(folder.file("._model.safetensors"), "a Finder file");
  const Result<ShardSet> set = ShardSet::open(folder.path() + "/");
  ASSERT_TRUE(set.has_value()) << set.error().message;
  expect_two(*set);
}

TEST(ShardSet, ReadsOneFile) {
  const TempFolder folder;
  put_two(folder);
  const Result<ShardSet> set = ShardSet::open(folder.file("model-00002-of-00002.safetensors"));
  ASSERT_TRUE(set.has_value()) << set.error().message;
  EXPECT_EQ(set->folder(), folder.path());
  EXPECT_EQ(set->tensors().size(), 1u);
  EXPECT_EQ(content(*set, "c"), "ccccc");
}

TEST(ShardSet, ReadsOneFileOfTheWorkingFolder) {
  const TempFolder folder;
  put_two(folder);
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  const Result<ShardSet> set = ShardSet::open("model-00002-of-00002.safetensors");
  std::filesystem::current_path(before);
  ASSERT_TRUE(set.has_value()) << set.error().message;
  EXPECT_EQ(set->folder(), ".");
  EXPECT_EQ(content(*set, "c"), "ccccc");
}

TEST(ShardSet, MissingThings) {
  const TempFolder folder;
  expect_refusal(folder.file("none"), ErrorCode::kMissing, {folder.file("none")});
  expect_refusal(folder.path(), ErrorCode::kMissing, {folder.path(), "*.safetensors"});
  put_two(folder);
  put_index(folder, kIndex);
  std::filesystem::remove(folder.file("model-00002-of-00002.safetensors"));
  expect_refusal(folder.path(), ErrorCode::kMissing, {"model-00002-of-00002.safetensors"});
}

TEST(ShardSet, IndexedTensorMustBeInItsShard) {
  const TempFolder folder;
  put_shard(folder.file("x.safetensors"), {{"a", 1}});
  put_shard(folder.file("y.safetensors"), {{"b", 1}});
  put_index(folder, R"({"weight_map":{"a":"y.safetensors","b":"y.safetensors"}})");
  expect_refusal(folder.path(), ErrorCode::kMissing, {"tensor \"a\" is not in y.safetensors"});
  put_index(folder, R"({"weight_map":{"a":"x.safetensors","b":"x.safetensors"}})");
  expect_refusal(folder.path(), ErrorCode::kMissing, {"tensor \"b\" is not in x.safetensors"});
}

TEST(ShardSet, ATensorTheIndexForgotIsStillThere) {
  const TempFolder folder;
  put_two(folder);
  put_index(
      folder,
      R"({"weight_map":{"a":"model-00001-of-00002.safetensors","c":"model-00002-of-00002.safetensors"}})");
  const Result<ShardSet> set = ShardSet::open(folder.path());
  ASSERT_TRUE(set.has_value()) << set.error().message;
  expect_two(*set);
}

TEST(ShardSet, ATensorInTwoShardsIsAnError) {
  const TempFolder folder;
  put_shard(folder.file("x.safetensors"), {{"a", 1}, {"w", 1}});
  put_shard(folder.file("y.safetensors"), {{"w", 1}});
  const Names parts = {"tensor \"w\"", "x.safetensors", "y.safetensors"};
  expect_refusal(folder.path(), ErrorCode::kBadLayout, parts);
  put_index(folder, R"({"weight_map":{"a":"x.safetensors","w":"y.safetensors"}})");
  expect_refusal(folder.path(), ErrorCode::kBadLayout, parts);
}

TEST(ShardSet, ShardNamesStayInTheFolder) {
  const TempFolder outside;
  put_shard(outside.file("w.safetensors"), {{"w", 1}});
  std::filesystem::create_directory(outside.file("in"));
  const std::string inside = outside.file("in");
  for (const std::string& name :
       {std::string("../w.safetensors"), outside.file("w.safetensors"),
        std::string("./../w.safetensors"), std::string("a/../w.safetensors"),
        std::string("sub/w.safetensors"), std::string("..\\\\w.safetensors"), std::string(".."),
        std::string(""), std::string(".w.safetensors"), std::string("a..safetensors"),
        std::string("w.safetensors\\u0000.safetensors"), std::string("w\\n.safetensors"),
        std::string(300, 'n') + ".safetensors"}) {
    SCOPED_TRACE(name);
    put(inside + "/model.safetensors.index.json", R"({"weight_map":{"w":")" + name + "\"}}");
    expect_refusal(inside, ErrorCode::kBadHeader, {"tensor \"w\"", "not a plain file name"});
  }
  put(inside + "/model.safetensors.index.json", R"({"weight_map":{"w":"pytorch_model.bin"}})");
  expect_refusal(inside, ErrorCode::kUnsupported, {"pytorch_model.bin"});
}

TEST(ShardSet, RefusesMalformedIndexes) {
  const TempFolder folder;
  put_two(folder);
  for (
      const char* text :
      {"", "[]", "{}", "7", R"({"weight_map":[]})", R"({"weight_map":{}})",
       R"({"weight_map":{"a":1}})", R"({"weight_map":{"a":null}})", R"({"__float__":"NaN"})",
       R"({"weight_map":{"c":"model-00002-of-00002.safetensors","c":"model-00002-of-00002.safetensors"}})",
       R"({"metadata":1,"weight_map":{"c":"model-00002-of-00002.safetensors"}})",
       R"({"metadata":{"total_size":"5"},"weight_map":{"c":"model-00002-of-00002.safetensors"}})",
       R"({"metadata":{"total_size":-5},"weight_map":{"c":"model-00002-of-00002.safetensors"}})",
       R"({"metadata":{"total_size":NaN},"weight_map":{"c":"model-00002-of-00002.safetensors"}})"}) {
    SCOPED_TRACE(text);
    put_index(folder, text);
    expect_refusal(folder.path(), ErrorCode::kBadHeader,
                   {folder.file("model.safetensors.index.json")});
  }
}

TEST(ShardSet, ADifferentTotalIsOnlyLogged) {
  const TempFolder folder;
  put_two(folder);
  std::string logged;
  set_log_sink([&](LogLevel, std::string_view line) { logged = line; });
  put_index(folder, kIndex);
  EXPECT_TRUE(ShardSet::open(folder.path()).has_value());
  EXPECT_EQ(logged, "");
  std::string other(kIndex);
  other.replace(other.find("10"), 2, "11");
  put_index(folder, other);
  EXPECT_TRUE(ShardSet::open(folder.path()).has_value());
  EXPECT_NE(logged.find("total_size is 11, the shards hold 10 bytes"), std::string::npos) << logged;
  set_log_sink({});
}

TEST(ShardSet, LinksThatLeadNowhereAreErrors) {
  const TempFolder folder;
  std::filesystem::create_symlink("loop.safetensors", folder.file("loop.safetensors"));
  expect_refusal(folder.path(), ErrorCode::kIo, {"loop.safetensors"});
  expect_refusal(folder.file("loop.safetensors"), ErrorCode::kIo, {"loop.safetensors"});
  std::filesystem::remove(folder.file("loop.safetensors"));
  put_two(folder);
  // A dangling index is not the same as none.
  std::filesystem::create_symlink("none.json", folder.file("model.safetensors.index.json"));
  expect_refusal(folder.path(), ErrorCode::kMissing, {"model.safetensors.index.json"});
}

TEST(ShardSet, FollowsLinksToFiles) {
  const TempFolder store;  // as a download cache keeps blobs beside the folder
  put_shard(store.file("blob"), {{"w", 4}});
  const TempFolder folder;
  std::filesystem::create_symlink(store.file("blob"), folder.file("model.safetensors"));
  const Result<ShardSet> set = ShardSet::open(folder.path());
  ASSERT_TRUE(set.has_value()) << set.error().message;
  EXPECT_EQ(content(*set, "w"), "wwww");
}

TEST(ShardSet, ADamagedShardIsNamed) {
  const TempFolder folder;
  put_two(folder);
  put(folder.file("model-00002-of-00002.safetensors"), "");
  expect_refusal(folder.path(), ErrorCode::kBadHeader, {"model-00002-of-00002.safetensors"});
}

std::vector<TensorEntry> entries_of(const std::vector<int64_t>& bytes) {
  std::vector<TensorEntry> entries;
  for (size_t i = 0; i < bytes.size(); ++i)
    entries.push_back({.name = "t" + std::to_string(i), .dtype = DType::kU8, .shape = {bytes[i]}});
  return entries;
}

std::vector<size_t> counts(const std::vector<std::vector<TensorEntry>>& shards) {
  std::vector<size_t> sizes;
  for (const auto& shard : shards) sizes.push_back(shard.size());
  return sizes;
}

TEST(PlanShards, FillsInOrder) {
  using Sizes = std::vector<size_t>;
  EXPECT_EQ(counts(plan_shards({}, 10)), Sizes{});
  EXPECT_EQ(counts(plan_shards(entries_of({4, 6, 1}), 10)), (Sizes{2, 1}));
  EXPECT_EQ(counts(plan_shards(entries_of({4, 7}), 10)), (Sizes{1, 1}));
  EXPECT_EQ(counts(plan_shards(entries_of({4, 99, 4, 4}), 10)), (Sizes{1, 1, 2}));
  EXPECT_EQ(counts(plan_shards(entries_of({99, 0, 0, 1}), 10)), (Sizes{3, 1}));
  EXPECT_EQ(counts(plan_shards(entries_of({1, 1}), 0)), (Sizes{1, 1}));
  const auto shards = plan_shards(entries_of({4, 6, 1}), 10);
  EXPECT_EQ(shards[0][1].name, "t1");
  EXPECT_EQ(shards[1][0].name, "t2");
}

TEST(PlanShards, Names) {
  EXPECT_EQ(shard_file_name(0, 1), "model.safetensors");
  EXPECT_EQ(shard_file_name(0, 2), "model-00001-of-00002.safetensors");
  EXPECT_EQ(shard_file_name(11, 120), "model-00012-of-00120.safetensors");
}

TEST(ShardIndex, RoundTrip) {
  const TempFolder folder;
  const auto shards = plan_shards(entries_of({4, 6, 1}), 10);
  for (size_t i = 0; i < shards.size(); ++i) {
    std::vector<std::pair<std::string, int64_t>> tensors;
    for (const TensorEntry& tensor : shards[i]) tensors.emplace_back(tensor.name, tensor.shape[0]);
    put_shard(folder.file(shard_file_name(i, shards.size())), tensors);
  }
  ASSERT_TRUE(write_shard_index(folder.path(), shards).has_value());
  const Result<Json> index = read_json_file(folder.file("model.safetensors.index.json"));
  ASSERT_TRUE(index.has_value());
  EXPECT_EQ(
      index->dump(),
      R"({"metadata":{"total_size":11},"weight_map":{"t0":"model-00001-of-00002.safetensors",)"
      R"("t1":"model-00001-of-00002.safetensors","t2":"model-00002-of-00002.safetensors"}})");
  const Result<ShardSet> set = ShardSet::open(folder.path());
  ASSERT_TRUE(set.has_value()) << set.error().message;
  EXPECT_EQ(set->tensors().size(), 3u);
}

TEST(ShardIndex, NoneForOneShard) {
  const TempFolder folder;
  ASSERT_TRUE(write_shard_index(folder.path(), plan_shards(entries_of({4}), 10)).has_value());
  EXPECT_EQ(folder.names(), Names{});
}

TEST(ShardIndex, RefusesNamesItCannotWrite) {
  const TempFolder folder;
  auto shards = plan_shards(entries_of({4, 6, 1}), 10);
  shards[1][0].name = "t0";
  EXPECT_EQ(write_shard_index(folder.path(), shards).error().code, ErrorCode::kInvalidArgument);
  shards[1][0].name = "\xFF";
  EXPECT_EQ(write_shard_index(folder.path(), shards).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(folder.names(), Names{});
}

}  // namespace
}  // namespace hlwq
