#pragma once
// Options of the engine and of sampling. Each has one list of fields, and that list drives the
// flags, the help, the range checks, the JSON report and the keywords of bindings.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hlwq {

// What a field is called (flags add "--", keywords turn '-' into '_'), what it means with its unit,
// and which values it takes: one of `choices` or `numbers` when there are any, else a number in
// [least, most].
struct OptionField {
  const char* name;
  const char* help;
  std::vector<std::string> choices = {};
  double least = 0, most = 0;  // equal: anything goes
  std::vector<int64_t> numbers = {};
};

struct EngineOptions {
  std::string device = "auto";
  int64_t threads = 0;
  std::string compute = "int8";
  int64_t context = 0;
  int64_t kv_cache_nbits = 16;
  int64_t k_cache_nbits = 0;
  int64_t v_cache_nbits = 0;
  std::string kv_check = "auto";
  int64_t prefill_chunk = 512;
  std::string base = {};
  std::string vram = {};
  std::string moe_expert_cache_size = "all";
  std::string cache_policy = "frecency";
  std::string cpu_experts = "auto";
  std::string expert_use = "auto";
  std::string expert_file = "auto";

  // Most tokens of one step over all sequences; 0: the prefill chunk. Sequences to be held side by
  // side, each of `context` tokens. Not flags: commands that run several sequences set them.
  int64_t step_tokens = 0;
  int64_t sequences = 1;

  // Calls v(const OptionField&, field) for each field.
  template <typename Visitor>
  void visit(Visitor&& v) {
    visit_fields(*this, v);
  }
  template <typename Visitor>
  void visit(Visitor&& v) const {
    visit_fields(*this, v);
  }

 private:
  template <typename Self, typename Visitor>
  static void visit_fields(Self& self, Visitor& v) {
    v(OptionField{.name = "device",
                  .help = "where the model runs",
                  .choices = {"auto", "cpu", "cuda", "reference"}},
      self.device);
    v(OptionField{.name = "threads",
                  .help = "CPU threads; 0: one a physical core that this process may use",
                  .least = 0,
                  .most = 1024},
      self.threads);
    v(OptionField{.name = "compute",
                  .help = "arithmetic of coded matrices",
                  .choices = {"int8", "exact"}},
      self.compute);
    v(OptionField{.name = "context",
                  .help = "most tokens of a sequence; 0: 4096, or less if the model says so",
                  .least = 0,
                  .most = 1 << 30},
      self.context);
    v(OptionField{.name = "kv-cache-nbits",
                  .help = "bits of an element of keys and values: 16, 8, 4, 3 or 2",
                  .numbers = {16, 8, 4, 3, 2}},
      self.kv_cache_nbits);
    v(OptionField{.name = "k-cache-nbits",
                  .help = "the same of keys alone; 0: as --kv-cache-nbits",
                  .numbers = {0, 16, 8, 4, 3, 2}},
      self.k_cache_nbits);
    v(OptionField{.name = "v-cache-nbits",
                  .help = "the same of values alone; 0: as --kv-cache-nbits",
                  .numbers = {0, 16, 8, 4, 3, 2}},
      self.v_cache_nbits);
    v(OptionField{.name = "kv-check",
                  .help = "below 16 bits, measure at the start what the KV cache costs, where that "
                          "is quick",
                  .choices = {"auto", "off"}},
      self.kv_check);
    v(OptionField{.name = "prefill-chunk",
                  .help = "tokens of a prompt that one step takes; other cuts, other last bits",
                  .least = 1,
                  .most = 1 << 20},
      self.prefill_chunk);
    v(OptionField{.name = "base",
                  .help = "folder of the original model, for tensors the checkpoint lacks"},
      self.base);
    v(OptionField{.name = "vram",
                  .help = "budget in bytes for everything on the GPU, such as 7.6GB"},
      self.vram);
    v(OptionField{.name = "moe-expert-cache-size",
                  .help = "GPU expert slots in each MoE layer: a number or all"},
      self.moe_expert_cache_size);
    v(OptionField{.name = "cache-policy",
                  .help = "which expert leaves the GPU first",
                  .choices = {"lru", "lfru", "fifo", "frecency"}},
      self.cache_policy);
    v(OptionField{.name = "cpu-experts",
                  .help = "misses computed on the CPU: auto, off or a share from 0 to 1"},
      self.cpu_experts);
    v(OptionField{.name = "expert-use",
                  .help = "file of how much experts were used, to begin with the hot ones: a path, "
                          "auto (in the model's folder, when experts are offloaded) or off"},
      self.expert_use);
    v(OptionField{.name = "expert-file",
                  .help =
                      "folder for a file of the experts in place of host memory: a path (in any "
                      "case), auto (the model's folder, when memory is short) or off"},
      self.expert_file);
  }
};

// Unset fields take the value of the model's generation_config.json, else the default named here.
struct SamplingOptions {
  std::optional<double> temperature = {};     // 0.8
  std::optional<int64_t> top_k = {};          // 0
  std::optional<double> top_p = {};           // 1
  std::optional<double> min_p = {};           // 0
  std::optional<double> repeat_penalty = {};  // 1
  std::optional<int64_t> repeat_window = {};  // 64
  std::optional<int64_t> seed = {};           // drawn anew for each request, and reported

  template <typename Visitor>
  void visit(Visitor&& v) {
    visit_fields(*this, v);
  }
  template <typename Visitor>
  void visit(Visitor&& v) const {
    visit_fields(*this, v);
  }

 private:
  template <typename Self, typename Visitor>
  static void visit_fields(Self& self, Visitor& v) {
    v(OptionField{.name = "temperature",
                  .help = "0 is greedy; unset: the model's, else 0.8",
                  .least = 0,
                  .most = 100},
      self.temperature);
    v(OptionField{.name = "top-k",
                  .help = "keep the k most likely tokens; 0: all; unset: the model's, else 0",
                  .least = 0,
                  .most = 1 << 30},
      self.top_k);
    v(
        OptionField{
            .name = "top-p",
            .help =
                "keep the fewest tokens whose probabilities reach p; unset: the model's, else 1",
            .least = 0,
            .most = 1},
        self.top_p);
    v(OptionField{.name = "min-p",
                  .help = "drop tokens below p times the most likely; unset: the model's, else 0",
                  .least = 0,
                  .most = 1},
      self.min_p);
    v(OptionField{.name = "repeat-penalty",
                  .help = "divides positive and multiplies negative logits of recent tokens; "
                          "unset: the model's, else 1",
                  .least = 0.01,
                  .most = 100},
      self.repeat_penalty);
    v(OptionField{.name = "repeat-window",
                  .help = "how many of the latest tokens are recent; unset: 64",
                  .least = 0,
                  .most = 1 << 30},
      self.repeat_window);
    v(OptionField{.name = "seed",
                  .help = "same seed, same text; unset: drawn anew",
                  .least = 0,
                  .most = 9007199254740991.0},
      self.seed);
  }
};

}  // namespace hlwq
