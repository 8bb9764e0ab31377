#pragma once
// One engine for many requests at a time: what a server or a Python program with threads needs.
//
// A thread of the service's own runs the model; requests come from any thread. Functions return
// errors as values; none throws.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hlwq/engine.h"
#include "hlwq/options.h"
#include "hlwq/result.h"

namespace hlwq {

struct ServiceOptions {
  int64_t max_batch = 0;
  int64_t max_queue = 256;
  std::string prefix_cache = "1GiB";

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
    v(OptionField{.name = "max-batch",
                  .help = "requests answered side by side, each with its memory; 0: 32, or 8 when "
                          "experts are offloaded, whose slots want the memory",
                  .least = 0,
                  .most = 1024},
      self.max_batch);
    v(OptionField{.name = "max-queue",
                  .help = "requests that may wait; more are refused",
                  .least = 0,
                  .most = 1 << 20},
      self.max_queue);
    v(OptionField{.name = "prefix-cache",
                  .help = "host memory for beginnings of conversations that need not be computed "
                          "again, such as 1GiB; 0: none"},
      self.prefix_cache);
  }
};

// What an answer must look like. JSON is text here.
struct OutputFormat {
  enum class Kind { kText, kJsonObject, kJsonSchema, kToolCalls };
  Kind kind = Kind::kText;
  std::string schema = {};       // kJsonSchema
  std::string tools = {};        // kToolCalls: OpenAI's array
  std::string tool = {};         // kToolCalls: the only one allowed; empty: any of them
  bool parallel_calls = true;    // kToolCalls: more than one may follow another
  bool after_reasoning = false;  // what comes up to </think> is free
};

struct LogprobOf {
  int32_t id = 0;
  float logprob = 0;
};

// What a step added to an answer. Borrowed for the call.
struct ServicePiece {
  int32_t id = -1;                    // -1: text that was held back, at the end
  std::string_view text = {};         // certain now; may be empty
  const LogprobOf* chosen = nullptr;  // when logprobs were asked for
  std::span<const LogprobOf> top = {};
};

struct ServiceRequest {
  std::vector<int32_t> ids = {};           // the prompt
  std::optional<int64_t> max_tokens = {};  // unset: what the context leaves
  SamplingOptions sampling = {};
  std::vector<std::string> stop = {};  // stop strings, cut out of the text
  bool ignore_stop_ids = false;
  std::vector<std::pair<int32_t, float>> logit_bias = {};
  double presence_penalty = 0, frequency_penalty = 0;
  int64_t logprobs = -1;  // the chosen token's and so many of the most likely; -1: none
  OutputFormat format = {};
  std::vector<std::string> shown_tokens = {};  // special tokens that are part of the text
  std::vector<int64_t> anchors = {};           // ChatPrompt::anchors
  // Both are called on the service's thread, in order, and must be quick; on_end exactly once.
  std::function<bool(const ServicePiece&)> on_piece = {};  // false cancels
  std::function<void(Result<GenerateResult>)> on_end = {};
};

struct ServiceStats {
  int64_t running = 0, waiting = 0, finished = 0, failed = 0, refused = 0;
  int64_t prompt_tokens = 0, generated_tokens = 0, steps = 0;  // computed
  double prompt_tok_s = 0, decode_tok_s = 0;                   // over the last seconds
  int64_t sequences = 0;                                       // side by side at most
  int64_t kv_pages_used = 0, kv_pages = 0, kv_page_tokens = 0, kv_page_bytes = 0;
  int64_t prefix_bytes = 0, prefix_limit_bytes = 0, prefix_entries = 0;
  int64_t prefix_hits = 0, prefix_misses = 0, prefix_tokens = 0;
  int64_t device_total = 0, device_free = 0, device_allocated = 0;  // bytes; 0: runs on the CPU
  std::vector<ExpertTraffic> experts =
      {};  // of each MoE layer since the start; empty: all resident
  double uptime_s = 0;
  std::string error = {};  // what broke the engine; empty: it runs
};

// A request that was taken; to cancel it. Dropping the handle does not.
class ServiceTicket {
 public:
  virtual ~ServiceTicket() = default;
  virtual void cancel() = 0;
};

class Service {
 public:
  // Loads the model. Errors: as Engine::open, and kInvalidArgument for `options`, kOutOfMemory.
  [[nodiscard]] static Result<Service> open(
      const std::string& path, EngineOptions engine, const ServiceOptions& options,
      const std::function<void(uint64_t done, uint64_t total)>& progress = {});
  [[nodiscard]] static Result<Service> open_synthetic(std::string_view spec, EngineOptions engine,
                                                      const ServiceOptions& options);
  Service(Service&&) noexcept;
  Service& operator=(Service&&) noexcept;
  ~Service();  // requests that are still there end with kCancelled

  // For what needs no step (info, tokenize, detokenize, chat_prompt, resolve, stop_ids): those are
  // safe from any thread. generate() and what else runs the model must not be called.
  [[nodiscard]] const Engine& engine() const;

  // Errors: kInvalidArgument (the prompt, a number out of range), kUnsupported (a schema that asks
  // for more than is known), kBusy (the queue is full), kCancelled (drain() was called),
  // kInternal (the device is lost); on_end is then not called.
  [[nodiscard]] Result<std::shared_ptr<ServiceTicket>> submit(ServiceRequest request);

  [[nodiscard]] ServiceStats stats() const;  // at most half a second old

  // Takes no more requests, and returns when all have ended, or after `seconds`; whether all have.
  bool drain(double seconds);
  void cancel_all();

 private:
  struct Impl;
  explicit Service(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hlwq
