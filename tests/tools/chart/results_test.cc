// Results from JSON, and the charts they give.

#include "chart/results.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "chart/charts.h"
#include "chart/describe.h"
#include "chart/svg.h"

namespace hlwq::chart {
namespace {

Json ppl_result(double bits, double kl, const std::string& label) {
  return {{"command", "ppl"},
          {"model", "/models/<a&b>/"},
          {"file", "texts/wiki.raw"},
          {"kl_against", "/models/original"},
          {"label", label},
          {"compute", "int8"},
          {"k_cache_nbits", 16},
          {"v_cache_nbits", 16},
          {"window", 512},
          {"windows", 128},
          {"ppl", 28.8},
          {"stderr", 0.8},
          {"bits_per_weight", bits},
          {"kl_mean", kl},
          {"kl_mean_stderr", kl / 20},
          {"environment", {{"version", "0.1.0"}, {"backend", "a card"}}}};
}

Json bench_result() {
  return {{"command", "bench"},
          {"model", "models/big"},
          {"parameters", 30'000'000'000},
          {"file_bytes", 20'600'000'000},
          {"bits_per_weight", 5.125},
          {"attention_layers", 6},
          {"kv_heads", 2},
          {"head_dim", 128},
          {"max_positions", 262144},
          {"options", {{"vram", "7.6GB"}, {"moe-expert-cache-size", "all"}}},
          {"environment", {{"version", "0.1.0"}, {"backend", "a card"}}},
          {"expert_use",
           {{"from", "a routing trace of 9 steps"},
            {"layers", 2},
            {"experts", 3},
            {"uses", {{1, 2, 3}, {4, 0, 2}}}}},
          {"rows",
           {{{"name", "prompt 512"},
             {"tok_s", 3000},
             {"tok_s_least", 2900},
             {"tok_s_most", 3100},
             {"vram_peak_bytes", 7'400'000'000},
             {"vram_used_bytes", 7'550'000'000},
             {"host_bytes", 20'000'000'000}},
            {{"name", "decode"},
             {"tok_s", 160},
             {"tok_s_least", 150},
             {"tok_s_most", 170},
             {"vram_peak_bytes", 7'500'000'000},
             {"vram_used_bytes", 7'550'000'000},
             {"host_bytes", 20'000'000'000}},
            {{"name", "decode batch 32"},
             {"tok_s", 1600},
             {"tok_s_least", 1500},
             {"tok_s_most", 1700},
             {"host_bytes", 20'000'000'000}}}}};
}

Json plan_result() {
  return {{"command", "plan"},
          {"model", "models/big"},
          {"context", 4096},
          {"batch", 1},
          {"attention_layers", 6},
          {"kv_heads", 2},
          {"head_dim", 128},
          {"max_positions", 262144},
          {"rows",
           {{{"resident_bytes", 3'000'000'000}, {"predicted_tok_s", 120}},
            {{"resident_bytes", 0}, {"predicted_tok_s", nullptr}},
            {{"resident_bytes", 20'000'000'000}, {"predicted_tok_s", 700}}}}};
}

Results results_of(const Json& json) {
  Results results;
  const Status added = add_results(json, "here", results);
  EXPECT_TRUE(added) << added.error().message;
  return results;
}

std::vector<std::string> names(const std::vector<NamedPicture>& pictures) {
  std::vector<std::string> found;
  for (const NamedPicture& picture : pictures) found.push_back(picture.name);
  return found;
}

TEST(Results, AreReadFromArrays) {
  const Results results = results_of(Json::array(
      {bench_result(), Json::array({ppl_result(5.125, 0.02, "plain")}), plan_result()}));
  ASSERT_EQ(results.bench.size(), 1u);
  EXPECT_EQ(results.bench[0].origin.model, "big");
  EXPECT_EQ(results.bench[0].vram, "7.6GB");
  EXPECT_EQ(results.bench[0].kv, (KvShape{6, 2, 128, 262144}));
  EXPECT_EQ(results.bench[0].rows[1].vram_used_bytes, 7'550'000'000);
  EXPECT_FALSE(results.bench[0].rows[2].vram_used_bytes);
  ASSERT_EQ(results.ppl.size(), 1u);
  EXPECT_EQ(results.ppl[0].origin.model, "<a&b>");
  EXPECT_EQ(results.ppl[0].against, "original");
  EXPECT_EQ(results.ppl[0].file, "wiki.raw");
  EXPECT_FALSE(results.ppl[0].top1);
  ASSERT_EQ(results.plans.size(), 1u);
  EXPECT_EQ(results.plans[0].rows.size(), 3u);
  ASSERT_EQ(results.experts.size(), 1u);
  EXPECT_EQ(results.experts[0].uses, (std::vector<double>{1, 2, 3, 4, 0, 2}));
}

TEST(Results, RefuseWhatTheyDoNotKnow) {
  const auto refused = [](const Json& json, std::initializer_list<const char*> words) {
    Results results;
    const Status added = add_results(json, "FILE", results);
    ASSERT_FALSE(added) << json.dump().substr(0, 200);
    EXPECT_EQ(added.error().code, ErrorCode::kBadHeader);
    for (const char* const word : words)
      EXPECT_NE(added.error().message.find(word), std::string::npos) << added.error().message;
  };
  const auto with = [](Json json, const std::string& path, const Json& value) {
    json[Json::json_pointer(path)] = value;
    return json;
  };
  const auto without = [](Json json, const char* key) {
    json.erase(key);
    return json;
  };
  refused(3, {"FILE", "an object"});
  refused("text", {"FILE"});
  refused(nullptr, {"FILE"});
  refused(Json::array({bench_result(), Json::object()}), {"FILE[1]", "command"});
  refused({{"command", "quantize"}}, {"FILE", "quantize"});
  refused({{"command", 3}}, {"command", "a text"});
  refused(without(ppl_result(5, 1, "x"), "ppl"), {"ppl", "missing"});
  refused(without(bench_result(), "rows"), {"rows", "missing"});
  refused(with(ppl_result(5, 1, "x"), "/ppl", "28"), {"ppl", "a number"});
  refused(with(ppl_result(5, 1, "x"), "/ppl", 1e300), {"ppl", "a number up to"});
  refused(with(ppl_result(5, 1, "x"), "/kl_mean", Json::array()), {"kl_mean"});
  refused(with(ppl_result(5, 1, "x"), "/window", -1), {"window", "whole number"});
  refused(with(ppl_result(5, 1, "x"), "/window", 1.5), {"window", "whole number"});
  refused(with(ppl_result(5, 1, "x"), "/label", std::string(5000, 'x')), {"label", "5000 bytes"});
  refused(with(ppl_result(5, 1, "x"), "/environment", 7), {"environment", "an object"});
  refused(with(bench_result(), "/rows", {{"a", 1}}), {"rows", "an array"});
  refused(with(bench_result(), "/rows/1", "row"), {"rows[1]", "an object"});
  refused(with(bench_result(), "/rows/1/tok_s", true), {"rows[1]", "tok_s", "true"});
  refused(with(bench_result(), "/rows/0/vram_peak_bytes", 1e30), {"rows[0]", "vram_peak_bytes"});
  refused(with(bench_result(), "/expert_use/uses/1", {1, 2}), {"expert_use", "uses[1]", "3"});
  refused(with(bench_result(), "/expert_use/uses/0/0", -1), {"uses[0]", "-1"});
  refused(with(bench_result(), "/expert_use/experts", 1e9), {"uses"});
  refused({{"layers", 1}, {"experts", 2}, {"uses", "none"}}, {"uses", "an array"});
  refused(with(plan_result(), "/rows/0/resident_bytes", Json()), {"rows[0]", "resident_bytes"});
  refused(Json(Json::array_t(1001, plan_result())), {"1000"});
}

TEST(Charts, DrawWhatThereIsDataFor) {
  const auto drawn = [](const Json& json) {
    const auto pictures = draw_charts(results_of(json));
    EXPECT_TRUE(pictures) << pictures.error().message;
    return names(*pictures);
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(drawn(bench_result()), (Names{"memory", "speed", "context", "experts"}));
  EXPECT_EQ(drawn(ppl_result(5, 0.1, "x")), (Names{"quality"}));
  EXPECT_EQ(drawn(plan_result()), (Names{"speed", "context"}));
  EXPECT_EQ(drawn(Json::array()), Names{});
  EXPECT_EQ(drawn(ppl_result(5, 0, "itself")), Names{}) << "a KL of 0 has no place";
  Json other = plan_result();
  other["kv_heads"] = 8;
  EXPECT_EQ(drawn(Json::array({plan_result(), other, bench_result()})),
            (Names{"memory", "speed", "context", "context-2", "experts"}));
}

TEST(Charts, NameEverySeriesAndEscapeIt) {
  const auto pictures = draw_charts(results_of(
      Json::array({ppl_result(5.125, 0.02, "ours <b>&"), ppl_result(3.125, 0.3, "ours <b>&"),
                   ppl_result(5.125, 0.04, "published"), ppl_result(4.25, 0.2, "")})));
  ASSERT_TRUE(pictures);
  const std::string svg = to_svg((*pictures)[0].picture);
  for (const char* const text :
       {"ours &lt;b&gt;&amp;", "published", "&lt;a&amp;b&gt;", "wiki.raw, 128 windows of 512",
        "KL from original", "mean KL (nats)", "hlwq 0.1.0", "a card"})
    EXPECT_NE(svg.find(text), std::string::npos) << text;
  EXPECT_EQ(svg.find("<b>"), std::string::npos);
}

TEST(Charts, MarkWhatIsPredicted) {
  const auto pictures = draw_charts(results_of(Json::array({bench_result(), plan_result()})));
  ASSERT_TRUE(pictures);
  const std::string speed = to_svg((*pictures)[1].picture);
  EXPECT_NE(speed.find("big: decode, measured"), std::string::npos);
  EXPECT_NE(speed.find("big: decode at 4096, predicted"), std::string::npos);
  EXPECT_EQ(speed.find("batch"), std::string::npos) << "one sequence alone";
  const std::string memory = to_svg((*pictures)[0].picture);
  for (const char* const text : {"60 GB", "20.6 GB", "7.5 GB", "GPU peak, measured, --vram 7.6GB"})
    EXPECT_NE(memory.find(text), std::string::npos) << text;
}

TEST(Describe, KeysAndValues) {
  const KvShape shape{6, 2, 128, 0};
  EXPECT_EQ(kv_bytes(shape, 16, 1), 2.0 * 6 * 2 * 256);
  EXPECT_EQ(kv_bytes(shape, 4, 10), 2.0 * 6 * 2 * (64 + 2) * 10);
  EXPECT_EQ(kv_bytes(shape, 3, 1), 2.0 * 6 * 2 * (48 + 2));
  EXPECT_EQ(join_distinct({"a", "", "b", "a", "c", "d", "e"}), "a, b, c and 2 more");
}

}  // namespace
}  // namespace hlwq::chart
