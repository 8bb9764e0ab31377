// Engine::bench: prompts and decode steps on random ids, timed, and the roof to compare them with.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "api/engine_impl.h"
#include "api/expert_traffic.h"
#include "base/process_memory.h"
#include "base/random.h"
#include "ops/kv_pages.h"

namespace hlwq {
namespace {

using Clock = std::chrono::steady_clock;

// Untimed steps before the timed ones: first launches, recorded steps, caches.
constexpr int64_t kWarmUpSteps = 8;
constexpr int64_t kMostTokens = int64_t{1} << 30;
constexpr int64_t kMostRepetitions = 1000;
constexpr size_t kRoomForReading = size_t{512} << 20;

int64_t most_of(const std::vector<int64_t>& values) {
  return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
}

// Limits keep products of these numbers far inside 64 bits.
Status check_request(const BenchRequest& request, const ModelInfo& info, int64_t step_tokens) {
  const auto in_range = [](std::string_view name, const std::vector<int64_t>& values, int64_t least,
                           int64_t most) -> Status {
    for (const int64_t value : values)
      if (value < least || value > most)
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{}: got {}, wanted {} to {}", name, value, least, most));
    return {};
  };
  HLWQ_TRY(in_range("--prompt", request.prompts, 1, kMostTokens));
  HLWQ_TRY(in_range("--generate", {request.generate}, 0, kMostTokens));
  HLWQ_TRY(in_range("--depth", request.depths, 0, kMostTokens));
  HLWQ_TRY(in_range("--batch", request.batches, 1, step_tokens));
  HLWQ_TRY(in_range("--reps", {request.repetitions}, 1, kMostRepetitions));
  if (request.context() > info.context)
    return fail(ErrorCode::kInvalidArgument, fmt::format("--context {}: the measurements need {}",
                                                         info.context, request.context()));
  return {};
}

struct DecodeShape {
  int64_t batch = 1, depth = 0;
};

// Every depth with the first batch, every other batch at the first depth.
std::vector<DecodeShape> decode_shapes(const BenchRequest& request) {
  std::vector<DecodeShape> shapes;
  if (request.generate == 0 || request.batches.empty() || request.depths.empty()) return shapes;
  for (const int64_t depth : request.depths) shapes.push_back({request.batches[0], depth});
  for (size_t i = 1; i < request.batches.size(); ++i)
    shapes.push_back({request.batches[i], request.depths[0]});
  return shapes;
}

std::string name_of(const DecodeShape& shape) {
  std::string name = "decode";
  if (shape.depth > 0) name += fmt::format(" at {}", shape.depth);
  if (shape.batch > 1) name += fmt::format(" batch {}", shape.batch);
  return name;
}

// `ids` random ones, the same for the same seed.
std::vector<int32_t> random_ids(int64_t seed, int64_t ids, int64_t vocabulary) {
  std::vector<int32_t> drawn(static_cast<size_t>(ids));
  for (size_t i = 0; i < drawn.size(); ++i)
    drawn[i] = static_cast<int32_t>(random_bits(static_cast<uint64_t>(seed), i) %
                                    static_cast<uint64_t>(vocabulary));
  return drawn;
}

// Everything a row is measured with.
class Bench {
 public:
  Bench(Backend& backend, Model& model, const KvForm& kv, int64_t prefill_chunk,
        const BenchRequest& request)
      : backend_(backend),
        model_(model),
        kv_(kv),
        prefill_chunk_(prefill_chunk),
        request_(request),
        shapes_(decode_shapes(request)) {}

  Result<BenchResult> run() {
    if (!request_.trace.empty()) {
      HLWQ_TRY_ASSIGN(trace_, RoutingRecorder::create(request_.trace, model_.config()));
    }
    HLWQ_TRY_ASSIGN(BenchResult result, measure());
    if (trace_) HLWQ_TRY(trace_->commit());
    return result;
  }

 private:
  Result<BenchResult> measure() {
    BenchResult result;
    for (const int64_t tokens : request_.prompts) {
      HLWQ_TRY_ASSIGN(BenchRow row, prompt_row(tokens));
      result.rows.push_back(std::move(row));
    }
    for (const DecodeShape& shape : shapes_) {
      HLWQ_TRY_ASSIGN(BenchRow row, decode_row(shape));
      result.rows.push_back(std::move(row));
    }
    // The last thing, because its buffer would be in the rows' memory.
    auto read_bytes_s = backend_.read_bandwidth();
    // A cache that fills the device makes room: its figures have been taken.
    if (!read_bytes_s && read_bytes_s.error().code == ErrorCode::kOutOfMemory &&
        model_.give_back(kRoomForReading) > 0)
      read_bytes_s = backend_.read_bandwidth();
    if (!read_bytes_s) return tl::unexpected(read_bytes_s.error());
    result.read_gb_s = *read_bytes_s * 1e-9;
    for (BenchRow& row : result.rows)
      if (row.gb_s) row.roof_share = *row.gb_s / result.read_gb_s;
    result.device_bytes = static_cast<int64_t>(backend_.memory().total);
    const int plain = static_cast<int>(8 * bytes_of(kv_.dtype));
    result.k_cache_nbits = kv_.key_bits < 16 ? kv_.key_bits : plain;
    result.v_cache_nbits = kv_.value_bits < 16 ? kv_.value_bits : plain;
    return result;
  }

  Result<BenchRow> prompt_row(int64_t tokens) {
    HLWQ_TRY_ASSIGN(Session session, make_session(1, tokens));
    HLWQ_TRY_ASSIGN(const Buffer buffer, session.allocate_logits(1));
    const MutF32View logits = dense(buffer.as<float>().data(), 1, session.vocabulary());
    const std::vector<int32_t> ids = random_ids(request_.seed, tokens, session.vocabulary());
    const auto feed = [&](int64_t count) -> Status {
      HLWQ_TRY_ASSIGN(const int64_t slot, session.open());
      const SequenceInput prompt = {slot, std::span(ids).first(static_cast<size_t>(count))};
      HLWQ_TRY(session.prefill({&prompt, 1}, logits, request_.cancel));
      session.close(slot);
      return {};
    };
    HLWQ_TRY(feed(std::min(tokens, prefill_chunk_)));
    HLWQ_TRY_ASSIGN(BenchRow row,
                    repeat(fmt::format("prompt {}", tokens), tokens, [&] { return feed(tokens); }));
    return row;
  }

  Result<BenchRow> decode_row(const DecodeShape& shape) {
    const auto [batch, depth] = shape;
    HLWQ_TRY_ASSIGN(
        Session session,
        make_session(batch, depth + kWarmUpSteps + request_.repetitions * request_.generate));
    HLWQ_TRY_ASSIGN(const Buffer buffer, session.allocate_logits(batch));
    const MutF32View logits = dense(buffer.as<float>().data(), batch, session.vocabulary());
    // Each sequence begins with ids of its own, so that a batch meets different experts.
    const std::vector<int32_t> ids =
        random_ids(request_.seed, batch * (depth + 1), session.vocabulary());
    std::vector<int32_t> next(static_cast<size_t>(batch));
    std::vector<SequenceInput> inputs(next.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      HLWQ_TRY_ASSIGN(inputs[i].slot, session.open());
      const auto own = std::span(ids).subspan(i * static_cast<size_t>(depth + 1),
                                              static_cast<size_t>(depth + 1));
      next[i] = own.back();
      if (depth == 0) continue;
      // One after the other: side by side they would not fit a step.
      const SequenceInput held = {inputs[i].slot, own.first(static_cast<size_t>(depth))};
      HLWQ_TRY(session.prefill({&held, 1}, logits, request_.cancel));
    }
    const std::vector<SampleRow> greedy(next.size());
    const auto decode = [&](int64_t steps) -> Status {
      for (int64_t step = 0; step < steps; ++step) {
        if (request_.cancel != nullptr && request_.cancel->load(std::memory_order_relaxed))
          return fail(ErrorCode::kCancelled, "interrupted");
        for (size_t i = 0; i < inputs.size(); ++i) inputs[i].ids = {&next[i], 1};
        HLWQ_TRY(session.decode(inputs, greedy, logits, next));
      }
      return {};
    };
    HLWQ_TRY(decode(kWarmUpSteps));
    HLWQ_TRY_ASSIGN(BenchRow row, repeat(name_of(shape), batch * request_.generate,
                                         [&] { return decode(request_.generate); }));
    const int64_t mean_position =
        depth + kWarmUpSteps + request_.repetitions * request_.generate / 2;
    const double steps_s = row.tok_s / static_cast<double>(batch);
    row.gb_s = static_cast<double>(step_bytes(batch, mean_position)) * steps_s * 1e-9;
    return row;
  }

  // Times `work`, which is `tokens` tokens, as often as asked for.
  template <typename Work>
  Result<BenchRow> repeat(std::string name, int64_t tokens, Work&& work) {
    std::vector<double> rates;
    static_cast<void>(take_expert_traffic(model_));  // what came before
    for (int64_t i = 0; i < request_.repetitions; ++i) {
      backend_.synchronize();
      const Clock::time_point begin = Clock::now();
      HLWQ_TRY(work());
      backend_.synchronize();
      const std::chrono::duration<double> seconds = Clock::now() - begin;
      rates.push_back(static_cast<double>(tokens) / seconds.count());
      ++done_;
      if (request_.progress) request_.progress(done_, repetitions());
    }
    std::sort(rates.begin(), rates.end());
    const size_t half = rates.size() / 2;
    BenchRow row = {
        .name = std::move(name),
        .tokens = tokens,
        .tok_s = rates.size() % 2 == 1 ? rates[half] : (rates[half - 1] + rates[half]) / 2,
        .tok_s_least = rates.front(),
        .tok_s_most = rates.back(),
        .host_bytes = peak_rss_bytes()};
    row.experts = take_expert_traffic(model_);
    row.hit_rate = hit_rate(row.experts);
    if (backend_.device() != Device::kHost) {
      const DeviceMemory memory = backend_.memory();
      row.vram_peak_bytes = static_cast<int64_t>(memory.peak);
      row.vram_used_bytes = static_cast<int64_t>(memory.total - memory.free);
    }
    return row;
  }

  [[nodiscard]] Result<Session> make_session(int64_t sequences, int64_t context) {
    HLWQ_TRY_ASSIGN(Session session, Session::create(backend_, model_,
                                                     {.sequences = sequences,
                                                      .context = context,
                                                      .kv = kv_,
                                                      .prefill_chunk = prefill_chunk_}));
    session.set_trace(trace_ ? &*trace_ : nullptr);
    return session;
  }

  // What a decode step must move: the model's bytes, and the keys and values before `position`, the
  // newest of them exactly.
  [[nodiscard]] int64_t step_bytes(int64_t batch, int64_t position) const {
    const StateShape state = model_.state_shape();
    const int64_t coded = kv_.coded() ? coded_pages(position) * kPageTokens : position;
    const KvForm exact = {.dtype = kv_.dtype};
    const int64_t layer_bytes = (coded * kv_.page_bytes(state.attention) +
                                 (position - coded) * exact.page_bytes(state.attention)) /
                                kPageTokens;
    return model_.decode_bytes(batch) + batch * state.attention_layers * layer_bytes;
  }

  [[nodiscard]] int64_t repetitions() const {
    return request_.repetitions * static_cast<int64_t>(request_.prompts.size() + shapes_.size());
  }

  Backend& backend_;
  Model& model_;
  KvForm kv_;
  int64_t prefill_chunk_;
  const BenchRequest& request_;
  std::vector<DecodeShape> shapes_;
  std::optional<RoutingRecorder> trace_;
  int64_t done_ = 0;
};

}  // namespace

int64_t BenchRequest::context() const {
  const int64_t decoded =
      generate == 0 ? 0 : most_of(depths) + kWarmUpSteps + repetitions * generate;
  return std::max(most_of(prompts), decoded);
}

int64_t BenchRequest::widest_batch() const { return std::max<int64_t>(most_of(batches), 1); }

Result<BenchResult> Engine::Impl::bench(const BenchRequest& request) {
  HLWQ_TRY(check_request(request, info, step_tokens));
  return Bench(*backend, *model, kv, options.prefill_chunk, request).run();
}

}  // namespace hlwq
