#pragma once
// The engine: a model ready to run. Everything else is behind it.
//
// Functions return errors as values (hlwq/result.h); none throws. An Engine is used by one thread
// at a time.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hlwq/options.h"
#include "hlwq/result.h"

namespace hlwq {

[[nodiscard]] std::string_view version();  // "0.1.0"

struct ModelInfo {
  std::string path = {};
  std::string device = {};   // "cpu", "cuda", "reference"
  std::string backend = {};  // one line: instruction sets and threads, or the GPU
  std::string compute = {};  // "int8" or "exact" when something is coded, else "f32"
  int64_t layers = 0, hidden = 0, vocabulary = 0;
  int64_t context = 0;        // tokens
  int64_t max_positions = 0;  // the model's own limit; 0: none stated
  int64_t weight_bytes = 0, activation_bytes = 0, sequence_bytes = 0;
  int64_t attention_layers = 0, kv_heads = 0, head_dim = 0;  // what keys and values take
  int64_t k_cache_nbits = 0, v_cache_nbits = 0;
  int64_t parameters = 0;  // elements of all tensors
};

// A conversation up to where the assistant answers. JSON is text here.
struct ChatRequest {
  std::string messages = {};  // OpenAI's array, content as strings
  std::string tools = {};     // OpenAI's array; empty: none
  bool add_generation_prompt = true;
  std::optional<bool> enable_thinking = {};
  std::string variables = {};  // object of further variables for the template; empty: none
};

struct ChatPrompt {
  std::vector<int32_t> ids = {};
  std::string text = {};              // what the template made
  std::vector<int64_t> anchors = {};  // numbers of ids after which turns end
};

// What the model's chat template knows.
struct ChatAbilities {
  bool has_template = false;
  bool thinking = false;  // enable_thinking switches it
  bool tools = false;
  std::string source = {};  // the template
};

struct GenerateRequest {
  std::vector<int32_t> ids = {};  // the prompt
  int64_t max_tokens = 128;
  SamplingOptions sampling = {};
  std::vector<std::string> stop = {};                        // stop strings, cut out of the text
  std::function<bool(std::string_view piece)> on_text = {};  // text as it comes; false cancels
  const std::atomic<bool>* cancel = nullptr;                 // looked at between steps
  // File that what the router chooses is written to (docs/format.md); empty: none. Slow: steps are
  // then not recorded. Errors: kUnsupported (a model that routes nothing), kIo.
  std::string trace = {};
};

// What the routed experts of one MoE layer cost, summed over steps.
struct ExpertTraffic {
  int64_t hits = 0;      // experts of a step that lay on the GPU
  int64_t misses = 0;    // that had to be brought
  int64_t on_cpu = 0;    // of those: multiplied by the CPU
  int64_t in_place = 0;  // of those: read where they lie, no slot was free
  int64_t bytes = 0;     // brought
  double stall_s = 0;    // for which decode steps waited
  double cpu_s = 0;      // that the CPU took in them
};

// Of all layers together; nothing when no expert was asked for.
[[nodiscard]] std::optional<double> hit_rate(std::span<const ExpertTraffic> layers);

struct GenerateResult {
  std::string text = {};
  std::vector<int32_t> ids = {};  // a stop id is the last of them
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt: computed for an earlier request
  int64_t generated_tokens = 0;
  double prompt_tok_s = 0;                  // 0: nothing was timed
  double decode_tok_s = 0;                  // without the first token, which the prompt gives
  double wait_s = 0, prompt_s = 0;          // in the queue; from there to the first token
  std::string finish_reason = {};           // "stop", "length", "context", "cancelled"
  int64_t seed = 0;                         // that was used
  std::vector<ExpertTraffic> experts = {};  // of each MoE layer, prompt and answer; empty where all
                                            // experts are resident
};

struct LogitsRequest {
  std::vector<int32_t> ids = {};
  std::optional<int64_t> prefill = {};  // the first so many go in as a prompt; unset: all
  int64_t chunk = 512;                  // where the prompt is cut
  int64_t batch = 1;                    // copies of the sequence, side by side in the same steps
  int64_t top = 20;                     // how many of each reported position
  bool all = false;                     // report every position instead of the last
};

struct PositionLogits {
  int64_t position = 0;
  std::vector<int32_t> top_ids = {};  // by falling logit, ties by id
  std::vector<float> top_logits = {};
};

struct LogitsResult {
  std::vector<PositionLogits> positions = {};
  std::vector<float> last = {};  // [vocabulary], of the last position, first copy
  bool copies_equal = true;      // every copy gave the same bits at the last position
};

// How well one token was predicted.
struct TokenScore {
  int64_t window = 0, position = 0;  // of the token in its window, from 1
  int32_t id = 0;
  double nll = 0;  // nats
  double kl = 0;   // with a reference
  bool same_top = false;
};

struct PerplexityRequest {
  std::vector<int32_t> ids = {};
  int64_t window = 512;                                            // tokens
  int64_t windows = 0;                                             // 0: all whole ones
  std::function<void(int64_t done, int64_t total)> progress = {};  // windows
  // Gets the scores of a window, window by window; false cancels.
  std::function<bool(std::span<const TokenScore>)> on_window = {};
  const std::atomic<bool>* cancel = nullptr;
};

// Of a model from a reference, over all predictions. KL = sum p_ref ln(p_ref / p), in nats.
struct Divergence {
  double kl_mean = 0, kl_median = 0, kl_p99 = 0, kl_p999 = 0;
  double top1 = 0;                                   // share of predictions with the same top token
  double kl_mean_stderr = 0, top1_stderr = 0;        // from the spread over windows
  double ppl_reference = 0;                          // of the same text
  double ln_ppl_ratio = 0, ln_ppl_ratio_stderr = 0;  // ln(ppl / ppl_reference), spread of pairs
};

struct PerplexityResult {
  double ppl = 0, nll = 0;                    // nll: mean, in nats
  double ppl_stderr = 0, nll_stderr = 0;      // from the spread over windows
  int64_t tokens = 0, windows = 0;            // predictions, windows
  std::optional<Divergence> divergence = {};  // with a reference engine
};

// A row for each of `prompts`; a row of decode steps for each of `depths` with the first of
// `batches`, and for each other batch at the first depth.
struct BenchRequest {
  std::vector<int64_t> prompts = {512, 4096};  // tokens
  int64_t generate = 128;                      // decode steps of a repetition; 0: no such rows
  std::vector<int64_t> batches = {1, 32};      // sequences decoded side by side
  std::vector<int64_t> depths = {0, 8192};     // tokens each sequence holds before its first step
  int64_t repetitions = 3;
  int64_t seed = 1;                                                // of the token ids
  std::function<void(int64_t done, int64_t total)> progress = {};  // repetitions
  const std::atomic<bool>* cancel = nullptr;
  std::string trace = {};  // as GenerateRequest; the rows are then those of slow steps

  [[nodiscard]] int64_t context() const;  // tokens the longest of its sequences gets
  [[nodiscard]] int64_t widest_batch() const;
};

struct BenchRow {
  std::string name = {};                        // "prompt 512", "decode at 8192 batch 32"
  int64_t tokens = 0;                           // of a repetition, over all sequences
  double tok_s = 0;                             // median of the repetitions
  double tok_s_least = 0, tok_s_most = 0;       // their spread
  std::optional<double> gb_s = {};              // 1e9 bytes that decode steps must read a second
  std::optional<double> roof_share = {};        // of what the device reads a second
  std::optional<double> hit_rate = {};          // of the expert cache, when there is one
  std::vector<ExpertTraffic> experts = {};      // of each MoE layer then, all repetitions
  std::optional<int64_t> vram_peak_bytes = {};  // most this engine had on the GPU so far
  std::optional<int64_t> vram_used_bytes = {};  // of the whole GPU at the row's end
  int64_t host_bytes = 0;                       // most this process had resident so far
};

struct BenchResult {
  std::vector<BenchRow> rows = {};
  double read_gb_s = 0;      // at which the device reads its memory, measured after the rows
  int64_t device_bytes = 0;  // of that memory
  int64_t k_cache_nbits = 0, v_cache_nbits = 0;
};

class Engine {
 public:
  // Loads the model folder `path`. `progress` gets bytes read. Errors: kInvalidArgument (an option
  // out of range, named), kUnsupported (options this build cannot serve; a model it does not know),
  // and what loading reports, each naming file, tensor or key.
  [[nodiscard]] static Result<Engine> open(
      const std::string& path, const EngineOptions& options = {},
      const std::function<void(uint64_t done, uint64_t total)>& progress = {});
  // A model with random weights and no tokenizer, made in memory: "nemotron-30b-a3b" or "tiny",
  // then perhaps ":seed=N", ":skew=S" (experts chosen unevenly) and ":layers=K" (the first K).
  // Errors: kInvalidArgument (the spec, an option), and as open.
  [[nodiscard]] static Result<Engine> open_synthetic(std::string_view spec,
                                                     const EngineOptions& options = {});
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;
  ~Engine();

  [[nodiscard]] const ModelInfo& info() const;
  [[nodiscard]] const EngineOptions& options() const;  // as given

  // Token ids of `text`. `add_special`: with what the tokenizer puts around a prompt (often BOS).
  // Errors of these three: kMissing without a tokenizer.json, and the tokenizer's own.
  [[nodiscard]] Result<std::vector<int32_t>> tokenize(std::string_view text,
                                                      bool add_special = true) const;
  [[nodiscard]] Result<std::string> detokenize(std::span<const int32_t> ids,
                                               bool skip_special = false) const;
  // Bytes of a token, which need not be UTF-8 alone; empty without a tokenizer or such a token.
  [[nodiscard]] std::string token_bytes(int32_t id) const;
  // By the model's chat template. What messages hold never becomes a control token. Errors:
  // kMissing (no tokenizer, no template), kInvalidArgument (JSON; what the template itself refuses;
  // a rendering out of bounds), kUnsupported (what it asks of Jinja that is not known).
  [[nodiscard]] Result<ChatPrompt> chat_prompt(const ChatRequest& request) const;
  [[nodiscard]] ChatAbilities chat_abilities() const;

  // `given` with every unset field but the seed filled in.
  [[nodiscard]] SamplingOptions resolve(const SamplingOptions& given) const;
  // Of generation_config.json, config.json and the tokenizer, ascending.
  [[nodiscard]] const std::vector<int32_t>& stop_ids() const;

  // Errors: kInvalidArgument (no ids, too many for the context, ids outside the vocabulary,
  // sampling out of range, an empty stop string), kBadValue (non-finite activations). Without a
  // tokenizer `text` stays empty, and stop strings are kMissing.
  [[nodiscard]] Result<GenerateResult> generate(const GenerateRequest& request);
  // Needs no tokenizer; batch * chunk must not exceed the engine's step_tokens.
  [[nodiscard]] Result<LogitsResult> logits(const LogitsRequest& request);
  // With `reference`, which must have the same vocabulary, also the divergence from it.
  [[nodiscard]] Result<PerplexityResult> perplexity(const PerplexityRequest& request,
                                                    Engine* reference = nullptr);
  // Random ids; decode steps are greedy and take the ids they gave. Needs no tokenizer; options()
  // must allow request.context() tokens and widest_batch() step tokens. Errors: kInvalidArgument (a
  // number out of range), kOutOfMemory, kBadValue, kCancelled.
  [[nodiscard]] Result<BenchResult> bench(const BenchRequest& request);

 private:
  friend class Service;
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hlwq
