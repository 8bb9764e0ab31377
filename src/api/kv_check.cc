#include "api/kv_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "base/thread_pool.h"
#include "base/units.h"
#include "ops/kv_pages.h"
#include "runtime/perplexity.h"
#include "runtime/session.h"

namespace hlwq {
namespace {

constexpr int64_t kMostTokens = 768;
constexpr int64_t kChunk = 64;  // logits of so many tokens are held twice
// A host computes a model of so many bytes fast enough.
constexpr size_t kMostHostBytes = size_t{1} << 29;

std::string width_of(const KvForm& kv) {
  return kv.key_bits == kv.value_bits
             ? fmt::format("{} bits", kv.key_bits)
             : fmt::format("{} bits of keys and {} of values", kv.key_bits, kv.value_bits);
}

// What the two sequences and their logits take.
size_t bytes_of(const KvCheck& check, const KvForm& exact, int64_t window) {
  size_t bytes = 2 * sizeof(float) * static_cast<size_t>(kChunk * check.model.config().vocabulary);
  for (const KvForm& kv : {check.kv, exact})
    bytes += SequencePool::bytes_for(
        check.model.state_shape(),
        {.sequences = 1, .context = window, .kv = kv, .step_tokens = kChunk});
  return bytes;
}

struct Measured {
  double kl = 0;
  int64_t predictions = 0;
};

Result<Measured> measure(const KvCheck& check) {
  if (check.experts_elsewhere)
    return fail(ErrorCode::kUnsupported, "a prompt would wait for experts that are not on the GPU");
  if (check.backend.device() == Device::kHost && check.model.weight_bytes() > kMostHostBytes)
    return fail(ErrorCode::kUnsupported, "it would take long on the host");
  HLWQ_TRY_ASSIGN(std::vector<int32_t> ids,
                  check.tokenizer.encode(kKvCheckText, {.add_special = false}));
  const auto window = std::min({static_cast<int64_t>(ids.size()), kMostTokens, check.context});
  const int64_t first_coded = kExactTokens + kPageTokens - 1;  // position
  const int64_t predictions = window - 1 - first_coded;
  if (predictions < 1) return fail(ErrorCode::kUnsupported, "a context this short reads no codes");
  const KvForm exact = default_kv_form(check.model, check.backend);
  if (!check.options.vram.empty() && bytes_of(check, exact, window) > check.sequence_bytes)
    return fail(ErrorCode::kUnsupported,
                fmt::format("it would take {}, sequences have {}",
                            format_bytes(static_cast<int64_t>(bytes_of(check, exact, window))),
                            format_bytes(static_cast<int64_t>(check.sequence_bytes))));
  const ScoredModel coded = {&check.backend, &check.model, check.step_tokens, check.kv};
  const ScoredModel reference = {&check.backend, &check.model, check.step_tokens, exact};
  ThreadPool pool(check.backend.threads());
  HLWQ_TRY_ASSIGN(const PerplexityReport report,
                  measure_perplexity(coded, &reference, ids,
                                     {.window = window, .windows = 1, .chunk = kChunk}, pool));
  // Predictions before the first that reads codes hardly differ: FP16 of rotated elements is not
  // FP16 of the elements.
  return Measured{report.divergence->kl_mean * static_cast<double>(report.predictions) /
                      static_cast<double>(predictions),
                  predictions};
}

}  // namespace

void check_kv_cache(const KvCheck& check) {
  if (!check.kv.coded() || check.options.kv_check == "off") return;
  const auto start = std::chrono::steady_clock::now();
  const auto measured = measure(check);
  if (!measured) {
    log(LogLevel::kInfo,
        fmt::format("KV cache of {}: what it costs was not measured: {} (hlwq ppl MODEL FILE "
                    "--kl-against MODEL measures it)",
                    width_of(check.kv), measured.error().message));
    return;
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const bool is_much = measured->kl > kMostKvDivergence;
  log(is_much ? LogLevel::kWarning : LogLevel::kInfo,
      fmt::format(
          "KV cache of {}: predictions diverge by {:.5f} nats on average from those at 16 "
          "bits ({} predictions, {:.1f} s){}",
          width_of(check.kv), measured->kl, measured->predictions, seconds,
          is_much ? fmt::format("; above {} answers suffer: more bits cost less", kMostKvDivergence)
                  : ""));
}

}  // namespace hlwq
