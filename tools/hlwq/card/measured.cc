#include "card/measured.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "card/markdown.h"
#include "chart/axis.h"
#include "chart/describe.h"

namespace hlwq::card {
namespace {

// The model's own results first, else in the order given.
template <typename T>
std::vector<const T*> own_first(const std::vector<T>& results, const std::string& own) {
  std::vector<const T*> ordered;
  for (const T& result : results) ordered.push_back(&result);
  std::stable_partition(ordered.begin(), ordered.end(),
                        [&](const T* result) { return result->origin.model == own; });
  return ordered;
}

std::string name_of(const chart::Origin& origin, const std::string& own) {
  const std::string name = escape_markdown(origin.model);
  return origin.model == own ? "**" + name + "**" : name;
}

std::string with_error(double value, const std::optional<double>& error, int digits) {
  if (!error) return fmt::format("{:.{}f}", value, digits);
  return fmt::format("{:.{}f} ± {:.{}f}", value, digits, *error, digits);
}

// "a card; hlwq 0.1.0"
std::string machine(const chart::Origin& origin) {
  std::string text = origin.backend;
  if (!origin.cpu.empty()) text += (text.empty() ? "" : "; ") + origin.cpu;
  if (!origin.version.empty()) text += (text.empty() ? "hlwq " : "; hlwq ") + origin.version;
  return text;
}

// What is the same for several rows, once each: one line of a list.
void add_how(std::string& out, std::vector<std::string> lines) {
  out += "\n";
  std::vector<std::string> said;
  for (std::string& line : lines) {
    if (std::find(said.begin(), said.end(), line) != said.end()) continue;
    out += "- " + escape_markdown(line) + "\n";
    said.push_back(std::move(line));
  }
}

std::string kv_text(int64_t k_bits, int64_t v_bits) {
  if (k_bits == v_bits) return fmt::format("KV cache at {} bits", k_bits);
  return fmt::format("KV cache at {} bits of keys, {} of values", k_bits, v_bits);
}

std::string how(const chart::PplResult& result) {
  std::string text = fmt::format("{}: {} windows of {} tokens of {}, each on its own",
                                 result.origin.model, result.windows, result.window, result.file);
  if (!result.compute.empty()) text += fmt::format("; {} compute", result.compute);
  text += "; " + kv_text(result.k_cache_nbits, result.v_cache_nbits);
  if (!result.against.empty())
    text += fmt::format("; KL from {} with exact compute", result.against);
  return text + "; on " + machine(result.origin);
}

std::string how(const chart::BenchResult& result) {
  std::string text = fmt::format("{}: ", result.origin.model);
  text += result.repetitions > 0 ? fmt::format("median of {}, least to most", result.repetitions)
                                 : "median, least to most";
  if (!result.vram.empty()) text += ", --vram " + result.vram;
  if (!result.cache_size.empty() && result.cache_size != "all")
    text += ", --moe-expert-cache-size " + result.cache_size;
  if (result.prefill_chunk > 0)
    text += fmt::format(", prompts in chunks of {}", result.prefill_chunk);
  if (result.k_cache_nbits > 0) text += ", " + kv_text(result.k_cache_nbits, result.v_cache_nbits);
  return text + "; on " + machine(result.origin);
}

}  // namespace

void add_quality(std::string& out, const std::vector<chart::PplResult>& results,
                 const std::string& own) {
  out += "\n## Quality\n\n";
  const auto ordered = own_first(results, own);
  if (ordered.empty() || ordered.front()->origin.model != own)
    out += "The quality of this checkpoint was not measured.\n";
  if (ordered.empty()) return;
  Table table{.head = {"model", "bits a weight", "perplexity", "of the reference", "mean KL (nats)",
                       "99th percentile", "same top token (%)"},
              .rows = {}};
  std::vector<std::string> ways;
  for (const chart::PplResult* const result : ordered) {
    std::string name = name_of(result->origin, own);
    if (!result->label.empty()) name += ", " + escape_markdown(result->label);
    const auto number = [](const std::optional<double>& value, int digits) {
      return value ? fmt::format("{:.{}f}", *value, digits) : std::string("–");
    };
    table.rows.push_back(
        {name, number(result->bits_per_weight, 3), with_error(result->ppl, result->ppl_stderr, 3),
         number(result->ppl_reference, 3),
         result->kl_mean ? with_error(*result->kl_mean, result->kl_mean_stderr, 5) : "–",
         number(result->kl_p99, 4),
         result->top1
             ? with_error(100 * *result->top1,
                          result->top1_stderr ? std::optional<double>(100 * *result->top1_stderr)
                                              : std::nullopt,
                          2)
             : "–"});
    ways.push_back(how(*result));
  }
  if (ordered.front()->origin.model != own) out += "\n";
  out += to_markdown(table);
  out += "\n± is one standard error, from the spread over windows. Measured with `hlwq ppl`:\n";
  add_how(out, std::move(ways));
}

void add_speed(std::string& out, const std::vector<chart::BenchResult>& results,
               const std::string& own) {
  out += "\n## Speed\n\n";
  const auto ordered = own_first(results, own);
  if (ordered.empty() || ordered.front()->origin.model != own)
    out += "The speed of this checkpoint was not measured.\n";
  if (ordered.empty()) return;
  Table table{.head = {"model", "what", "tokens a second", "least to most", "expert hits",
                       "GPU peak", "host peak"},
              .rows = {}};
  std::vector<std::string> ways;
  for (const chart::BenchResult* const result : ordered) {
    std::string name = name_of(result->origin, own);
    if (!result->vram.empty()) name += ", " + escape_markdown(result->vram);
    for (const chart::BenchRow& row : result->rows)
      table.rows.push_back({name, escape_markdown(row.name), fmt::format("{:.1f}", row.tok_s),
                            fmt::format("{:.1f} to {:.1f}", row.tok_s_least, row.tok_s_most),
                            row.hit_rate ? fmt::format("{:.1f} %", 100 * *row.hit_rate) : "–",
                            row.vram_peak_bytes ? format_bytes(*row.vram_peak_bytes) : "–",
                            format_bytes(row.host_bytes)});
    ways.push_back(how(*result));
  }
  if (ordered.front()->origin.model != own) out += "\n";
  out += to_markdown(table);
  out += "\nMeasured with `hlwq bench`:\n";
  add_how(out, std::move(ways));
}

}  // namespace hlwq::card
