#pragma once
// What `bench`, `ppl` and `plan` wrote with --json, checked: the data of charts and cards. Fields
// that an older version did not write are absent; charts do without.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/json.h"

namespace hlwq::chart {

// Where a result comes from. Texts may be empty.
struct Origin {
  std::string model;    // the last part of the folder's path, or the synthetic spec
  std::string backend;  // "NVIDIA H200, 139 GiB", "cpu, avx512 kernels, 2 threads"
  std::string version;  // of hlwq
  std::string cpu;      // the processor's name
};

// What keys and values take: of attention layers.
struct KvShape {
  int64_t layers = 0, heads = 0, head_dim = 0;
  int64_t max_positions = 0;  // tokens; 0: not stated
  bool operator==(const KvShape&) const = default;
};

struct PplResult {
  Origin origin;
  std::string file, against;  // names without folders; against: empty without a reference
  std::string label;          // of its series; empty: none
  std::string compute;
  int64_t k_cache_nbits = 0, v_cache_nbits = 0;
  int64_t window = 0, windows = 0;
  double ppl = 0, ppl_stderr = 0;
  std::optional<double> bits_per_weight;
  // With a reference:
  std::optional<double> kl_mean, kl_mean_stderr, kl_p99, top1, top1_stderr, ppl_reference;
};

struct BenchRow {
  std::string name;
  double tok_s = 0, tok_s_least = 0, tok_s_most = 0;
  std::optional<double> hit_rate;
  std::optional<int64_t> vram_peak_bytes, vram_used_bytes;
  int64_t host_bytes = 0;
};

// How often each expert was chosen.
struct ExpertUse {
  Origin origin;
  std::string from;  // what counted it
  int64_t layers = 0, experts = 0;
  std::vector<double> uses;  // [layers, experts]
};

struct BenchResult {
  Origin origin;
  std::optional<int64_t> parameters, file_bytes;
  std::optional<double> bits_per_weight;  // nothing: no matrix is coded
  std::optional<KvShape> kv;
  std::string vram, cache_size;  // the options, as given
  int64_t prefill_chunk = 0, repetitions = 0, k_cache_nbits = 0, v_cache_nbits = 0;
  std::vector<BenchRow> rows;
};

struct PlanRow {
  int64_t resident_bytes = 0;
  std::optional<double> predicted_tok_s;
};

struct PlanResult {
  Origin origin;
  std::optional<KvShape> kv;
  int64_t context = 0, batch = 1;
  std::vector<PlanRow> rows;
};

struct Results {
  std::vector<PplResult> ppl;
  std::vector<BenchResult> bench;
  std::vector<PlanResult> plans;
  std::vector<ExpertUse> experts;
};

// Counts a trace's choices (docs/format.md#routing-traces). Errors: as read_routing_trace;
// kUnsupported for more layers or experts than a chart shows.
[[nodiscard]] Result<ExpertUse> count_trace(const std::string& path);

// Adds an object, or an array of them, found at `where`. Besides the commands' outputs, a file of
// experts' use (docs/offload.md) is one. Errors: kBadHeader for anything else, a field of another
// type or out of range; each names the place.
[[nodiscard]] Status add_results(const Json& json, const std::string& where, Results& results);

// Of JSON files, and of routing traces. Errors: as add_results, as count_trace, kMissing, kIo.
[[nodiscard]] Result<Results> read_results(std::span<const std::string> paths);

}  // namespace hlwq::chart
