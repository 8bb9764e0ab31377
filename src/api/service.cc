#include "hlwq/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "api/check_options.h"
#include "api/decoded_text.h"
#include "api/draw_seed.h"
#include "api/engine_impl.h"
#include "api/expert_traffic.h"
#include "api/grammar_constraint.h"
#include "api/guard.h"
#include "api/output_grammar.h"
#include "api/request_settings.h"
#include "api/throughput.h"
#include "base/log.h"
#include "base/units.h"
#include "runtime/scheduler.h"

namespace hlwq {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kResidentBatch = 32, kOffloadedBatch = 8;
constexpr std::chrono::milliseconds kDeviceStatsEvery{500};

}  // namespace

// A request from submit() to its end; shared by caller and scheduler.
struct ServiceJob : ServiceTicket {
  void cancel() override { cancelled = true; }

  ServiceRequest request;
  int64_t seed = 0;
  std::optional<DecodedText> text;
  std::optional<GrammarConstraint> constraint;
  GenerateSettings settings;
  std::atomic<bool> cancelled = false;
  std::vector<LogprobOf> top;  // of the current piece
};

struct Service::Impl {
  Impl(Engine opened, ServiceOptions given)
      : engine(std::move(opened)), options(std::move(given)) {}
  ~Impl();

  [[nodiscard]] Status start();
  [[nodiscard]] Result<std::shared_ptr<ServiceJob>> prepare(ServiceRequest request);
  [[nodiscard]] const TokenTrie& token_trie();
  void run();  // the thread
  void take_arrivals();
  void hand_over(const std::shared_ptr<ServiceJob>& job);
  void publish();
  [[nodiscard]] Engine::Impl& of_engine() const { return *engine.impl_; }

  // What borrows stands below what it borrows from.
  Engine engine;
  ServiceOptions options;
  std::optional<Session> session;
  std::optional<PrefixCache> prefix_cache;
  std::optional<Scheduler> scheduler;
  std::once_flag trie_once;
  std::optional<TokenTrie> trie;
  const Clock::time_point started = Clock::now();

  mutable std::mutex mutex;
  std::condition_variable arrived, ended;
  std::deque<std::shared_ptr<ServiceJob>> arrivals;
  int64_t taken = 0;  // arrivals and what the scheduler has
  int64_t refused = 0;
  bool draining = false, stopping = false;
  std::optional<Error> dead;  // what broke the engine
  std::vector<std::weak_ptr<ServiceJob>> living;
  ServiceStats published;
  mutable std::atomic<bool> wanted = true;  // somebody looks at stats

  Throughput throughput;  // of the thread
  Clock::time_point device_stats_at = {};
  std::thread thread;
};

Service::Impl::~Impl() {
  {
    const std::lock_guard lock(mutex);
    draining = stopping = true;
  }
  arrived.notify_all();
  if (thread.joinable()) thread.join();
}

Status Service::Impl::start() {
  Engine::Impl& own = of_engine();
  const int64_t sequences = own.options.sequences;
  HLWQ_TRY_ASSIGN(session, Session::create(*own.backend, *own.model,
                                           {.sequences = sequences,
                                            .context = own.info.context,
                                            .kv = own.kv,
                                            .prefill_chunk = own.options.prefill_chunk}));
  HLWQ_TRY_ASSIGN(const int64_t bytes, parse_bytes(options.prefix_cache));
  if (bytes > 0) {
    HLWQ_TRY_ASSIGN(prefix_cache,
                    PrefixCache::create(*session, *own.backend, static_cast<size_t>(bytes)));
  }
  PrefixCache* const cache = prefix_cache ? &*prefix_cache : nullptr;
  HLWQ_TRY_ASSIGN(Scheduler made,
                  Scheduler::create(*session, {.sequences = sequences,
                                               .step_tokens = own.options.step_tokens,
                                               .prefix_cache = cache}));
  scheduler.emplace(std::move(made));
  publish();
  thread = std::thread([this] { run(); });
  return {};
}

const TokenTrie& Service::Impl::token_trie() {
  std::call_once(trie_once, [this] { trie.emplace(*of_engine().tokenizer); });
  return *trie;
}

Result<std::shared_ptr<ServiceJob>> Service::Impl::prepare(ServiceRequest request) {
  const Engine::Impl& own = of_engine();
  HLWQ_TRY(check_options(request.sampling));
  HLWQ_TRY(check_stop_strings(request.stop));
  const auto prompt_tokens = static_cast<int64_t>(request.ids.size());
  if (prompt_tokens == 0) return fail(ErrorCode::kInvalidArgument, "the prompt has no tokens");
  if (prompt_tokens > own.info.context)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the prompt has {} tokens, the context holds {}", prompt_tokens,
                            own.info.context));
  if (request.max_tokens && *request.max_tokens < 0)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("max_tokens: got {}, wanted 0 or more", *request.max_tokens));
  for (const auto& [id, bias] : request.logit_bias)
    if (id < 0 || id >= own.info.vocabulary)
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("logit_bias: got token id {}, wanted ids below {}", id, own.info.vocabulary));
  const bool needs_text = !request.stop.empty() || request.format.kind != OutputFormat::Kind::kText;
  if (needs_text && !own.tokenizer) return tl::unexpected(own.tokenizer.error());

  auto job = std::make_shared<ServiceJob>();
  const SamplingOptions sampling = engine.resolve(request.sampling);
  job->seed = sampling.seed ? *sampling.seed : draw_seed();
  if (own.tokenizer) {
    std::vector<int32_t> shown;
    for (const std::string& token : request.shown_tokens)
      if (const auto id = own.tokenizer->id_of(token)) shown.push_back(*id);
    job->text.emplace(*own.tokenizer, std::move(shown));
  }
  std::vector<int32_t> stop_ids = request.ignore_stop_ids ? std::vector<int32_t>() : own.stop_ids;
  HLWQ_TRY_ASSIGN(const std::optional<Grammar> grammar,
                  output_grammar(request.format, own.tool_format));
  if (grammar)
    job->constraint.emplace(*own.tokenizer, token_trie(), *grammar, stop_ids,
                            request.format.after_reasoning);
  GenerateSettings& settings = job->settings;
  settings.max_tokens = request.max_tokens.value_or(own.info.context);
  settings.sampler = sampler_settings(sampling, job->seed);
  settings.edits.bias = request.logit_bias;
  settings.edits.presence_penalty = static_cast<float>(request.presence_penalty);
  settings.edits.frequency_penalty = static_cast<float>(request.frequency_penalty);
  settings.logprobs = request.logprobs;
  settings.stop_ids = std::move(stop_ids);
  settings.stop_strings = request.stop;
  settings.anchors = request.anchors;
  settings.text = job->text ? &*job->text : nullptr;
  settings.constraint = job->constraint ? &*job->constraint : nullptr;
  settings.cancel = &job->cancelled;
  if (request.on_piece)
    settings.on_piece = [job = job.get()](const Piece& piece) {
      ServicePiece out = {.id = piece.id, .text = piece.text};
      LogprobOf chosen;
      if (piece.logprobs != nullptr) {
        chosen = {piece.logprobs->chosen.id, piece.logprobs->chosen.logprob};
        job->top.clear();
        for (const TokenLogprob& other : piece.logprobs->top)
          job->top.push_back({other.id, other.logprob});
        out.chosen = &chosen;
        out.top = job->top;
      }
      return job->request.on_piece(out);
    };
  job->request = std::move(request);
  return job;
}

void Service::Impl::run() {
  const PinnedFloatMode pinned;
  for (;;) {
    {
      std::unique_lock lock(mutex);
      arrived.wait(lock, [&] {
        return stopping || !arrivals.empty() || published.running + published.waiting > 0;
      });
      if (stopping) break;
    }
    const Status stepped = guarded([&]() -> Status {
      take_arrivals();
      scheduler->step();
      return {};
    });
    if (!stepped) {
      log(LogLevel::kError, "the engine stopped: " + stepped.error().message);
      const std::lock_guard lock(mutex);
      dead = stepped.error();
      stopping = true;
    }
    publish();
  }
  const Error reason = dead ? *dead : Error{ErrorCode::kCancelled, "the service is closing"};
  static_cast<void>(guarded([&]() -> Status {
    take_arrivals();
    scheduler->fail_all(reason);
    return {};
  }));
  publish();
}

void Service::Impl::take_arrivals() {
  std::deque<std::shared_ptr<ServiceJob>> jobs;
  {
    const std::lock_guard lock(mutex);
    jobs.swap(arrivals);
  }
  for (const auto& job : jobs) hand_over(job);
}

void Service::Impl::hand_over(const std::shared_ptr<ServiceJob>& job) {
  const auto end = [this, job](Result<GenerateResult> result) {
    if (job->request.on_end) job->request.on_end(std::move(result));
    const std::lock_guard lock(mutex);
    --taken;
  };
  const Status accepted = scheduler->submit(std::move(job->request.ids), job->settings,
                                            [end, job](Result<Generated> generated) {
                                              if (!generated)
                                                return end(tl::unexpected(generated.error()));
                                              end(to_result(std::move(*generated), job->seed));
                                            });
  if (!accepted) end(tl::unexpected(accepted.error()));
}

void Service::Impl::publish() {
  const SchedulerStats steps = scheduler->stats();
  throughput.add(steps.prompt_tokens, steps.generated_tokens);
  const bool idle = steps.running + steps.waiting == 0;
  const Clock::time_point now = Clock::now();
  std::vector<ExpertTraffic> experts;
  DeviceMemory memory;
  const bool looks = now - device_stats_at >= kDeviceStatsEvery && (wanted || idle);
  if (looks && !dead) {
    static_cast<void>(guarded([&]() -> Status {
      experts = take_expert_traffic(*of_engine().model);
      if (of_engine().backend->device() != Device::kHost) memory = of_engine().backend->memory();
      return {};
    }));
    device_stats_at = now;
    wanted = false;
  }
  const std::lock_guard lock(mutex);
  ServiceStats& out = published;
  out.running = steps.running;
  out.waiting = steps.waiting;
  out.finished = steps.finished;
  out.failed = steps.failed;
  out.prompt_tokens = steps.prompt_tokens;
  out.generated_tokens = steps.generated_tokens;
  out.steps = steps.steps;
  const SequencePool& pool = session->pool();
  out.sequences = session->options().sequences;
  out.kv_pages = pool.pages();
  out.kv_pages_used = pool.pages() - pool.free_pages();
  out.kv_page_tokens = kPageTokens;
  out.kv_page_bytes = pool.page_bytes();
  if (prefix_cache) {
    const PrefixCacheStats cache = prefix_cache->stats();
    out.prefix_bytes = cache.bytes;
    out.prefix_limit_bytes = cache.limit_bytes;
    out.prefix_entries = cache.entries;
    out.prefix_hits = cache.hits;
    out.prefix_misses = cache.misses;
    out.prefix_tokens = cache.tokens_reused;
  }
  if (looks) {
    out.device_total = static_cast<int64_t>(memory.total);
    out.device_free = static_cast<int64_t>(memory.free);
    out.device_allocated = static_cast<int64_t>(memory.allocated);
    out.experts.resize(experts.size());
    for (size_t i = 0; i < experts.size(); ++i) add_to(out.experts[i], experts[i]);
  }
  ended.notify_all();
}

Service::Service(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Service::Service(Service&&) noexcept = default;
Service& Service::operator=(Service&&) noexcept = default;
Service::~Service() = default;

namespace {

// The engine's options with room for what the service runs side by side.
Result<EngineOptions> with_room(EngineOptions engine, const ServiceOptions& options) {
  HLWQ_TRY(check_options(options));
  HLWQ_TRY(check_options(engine));
  HLWQ_TRY(parse_bytes(options.prefix_cache));
  engine.sequences = options.max_batch;
  if (engine.sequences == 0) {
    const bool offloads = !engine.vram.empty() || engine.moe_expert_cache_size != "all";
    engine.sequences = offloads ? kOffloadedBatch : kResidentBatch;
    log(LogLevel::kInfo,
        fmt::format("{} requests side by side (--max-batch), because experts {}", engine.sequences,
                    offloads ? "are offloaded" : "are resident"));
  }
  engine.step_tokens = engine.prefill_chunk + engine.sequences;
  return engine;
}

}  // namespace

Result<Service> Service::open(const std::string& path, EngineOptions engine,
                              const ServiceOptions& options,
                              const std::function<void(uint64_t, uint64_t)>& progress) {
  return guarded([&]() -> Result<Service> {
    HLWQ_TRY_ASSIGN(const EngineOptions roomy, with_room(std::move(engine), options));
    HLWQ_TRY_ASSIGN(Engine opened, Engine::open(path, roomy, progress));
    auto impl = std::make_unique<Impl>(std::move(opened), options);
    HLWQ_TRY(impl->start());
    return Service(std::move(impl));
  });
}

Result<Service> Service::open_synthetic(std::string_view spec, EngineOptions engine,
                                        const ServiceOptions& options) {
  return guarded([&]() -> Result<Service> {
    HLWQ_TRY_ASSIGN(const EngineOptions roomy, with_room(std::move(engine), options));
    HLWQ_TRY_ASSIGN(Engine opened, Engine::open_synthetic(spec, roomy));
    auto impl = std::make_unique<Impl>(std::move(opened), options);
    HLWQ_TRY(impl->start());
    return Service(std::move(impl));
  });
}

const Engine& Service::engine() const { return impl_->engine; }

Result<std::shared_ptr<ServiceTicket>> Service::submit(ServiceRequest request) {
  return guarded([&]() -> Result<std::shared_ptr<ServiceTicket>> {
    HLWQ_TRY_ASSIGN(auto job, impl_->prepare(std::move(request)));
    {
      const std::lock_guard lock(impl_->mutex);
      if (impl_->dead) return tl::unexpected(*impl_->dead);
      if (impl_->draining)
        return fail(ErrorCode::kCancelled, "the service is closing and takes no more requests");
      // Those in sequences of their own do not wait.
      const int64_t waiting = impl_->taken - impl_->of_engine().options.sequences;
      if (waiting >= impl_->options.max_queue) {
        ++impl_->refused;
        return fail(ErrorCode::kBusy, fmt::format("{} requests are waiting already (--max-queue)",
                                                  impl_->options.max_queue));
      }
      ++impl_->taken;
      std::erase_if(impl_->living, [](const auto& other) { return other.expired(); });
      impl_->living.push_back(job);
      impl_->arrivals.push_back(job);
    }
    impl_->arrived.notify_all();
    return job;
  });
}

ServiceStats Service::stats() const {
  impl_->wanted = true;
  const std::lock_guard lock(impl_->mutex);
  ServiceStats out = impl_->published;
  out.waiting += static_cast<int64_t>(impl_->arrivals.size());
  out.refused = impl_->refused;
  if (impl_->dead) out.error = impl_->dead->message;
  const Rates rates = impl_->throughput.rates();
  out.prompt_tok_s = rates.prompt_tok_s;
  out.decode_tok_s = rates.decode_tok_s;
  out.uptime_s = std::chrono::duration<double>(Clock::now() - impl_->started).count();
  return out;
}

bool Service::drain(double seconds) {
  std::unique_lock lock(impl_->mutex);
  impl_->draining = true;
  return impl_->ended.wait_for(lock, std::chrono::duration<double>(std::max(seconds, 0.0)),
                               [&] { return impl_->taken == 0; });
}

void Service::cancel_all() {
  const std::lock_guard lock(impl_->mutex);
  for (const auto& job : impl_->living)
    if (const auto alive = job.lock()) alive->cancel();
}

}  // namespace hlwq
