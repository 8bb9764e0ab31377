#include "server/metrics.h"

#include <prometheus/text_serializer.h>

#include <utility>
#include <vector>

namespace hlwq::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

const prometheus::Histogram::BucketBoundaries kSeconds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                                          1,     2.5,  5,     10,   25,  60,   120};
const prometheus::Histogram::BucketBoundaries kBetween = {
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024};
const prometheus::Histogram::BucketBoundaries kTokens = {1,    4,    16,    64,    256,
                                                         1024, 4096, 16384, 65536, 262144};

prometheus::Histogram& histogram(prometheus::Registry& registry, const std::string& name,
                                 const std::string& help,
                                 const prometheus::Histogram::BucketBoundaries& buckets) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, buckets);
}

// Families made when they are read, from numbers that are counted elsewhere.
class Families {
 public:
  void add(MetricType type, const std::string& name, const std::string& help, double value,
           std::vector<ClientMetric::Label> labels = {}) {
    if (families_.empty() || families_.back().name != name)
      families_.push_back({.name = name, .help = help, .type = type, .metric = {}});
    ClientMetric metric;
    metric.label = std::move(labels);
    (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    families_.back().metric.push_back(std::move(metric));
  }
  void gauge(const std::string& name, const std::string& help, int64_t value) {
    add(MetricType::Gauge, name, help, static_cast<double>(value));
  }
  void counter(const std::string& name, const std::string& help, int64_t value) {
    add(MetricType::Counter, name, help, static_cast<double>(value));
  }
  [[nodiscard]] std::vector<MetricFamily> take() { return std::move(families_); }

 private:
  std::vector<MetricFamily> families_;
};

void add_memory(Families& families, const ServiceStats& stats) {
  const auto pool = [&](const std::string& name, int64_t bytes) {
    families.add(MetricType::Gauge, "hlwq_memory_bytes", "memory by pool",
                 static_cast<double>(bytes), {{"pool", name}});
  };
  pool("device_total", stats.device_total);
  pool("device_free", stats.device_free);
  pool("device_allocated", stats.device_allocated);
  pool("kv_total", stats.kv_pages * stats.kv_page_bytes);
  pool("kv_used", stats.kv_pages_used * stats.kv_page_bytes);
  pool("prefix_cache_total", stats.prefix_limit_bytes);
  pool("prefix_cache_used", stats.prefix_bytes);
}

void add_experts(Families& families, const ServiceStats& stats) {
  const auto all = [&](const std::string& name, const std::string& help, auto value) {
    for (size_t layer = 0; layer < stats.experts.size(); ++layer)
      families.add(MetricType::Counter, name, help,
                   static_cast<double>(value(stats.experts[layer])),
                   {{"layer", std::to_string(layer)}});
  };
  all("hlwq_expert_hits_total", "experts of steps that lay on the GPU, by MoE layer",
      [](const ExpertTraffic& layer) { return layer.hits; });
  all("hlwq_expert_misses_total", "experts that had to be brought or were multiplied by the CPU",
      [](const ExpertTraffic& layer) { return layer.misses; });
  all("hlwq_expert_on_cpu_total", "misses that the CPU multiplied",
      [](const ExpertTraffic& layer) { return layer.on_cpu; });
  all("hlwq_expert_bytes_total", "bytes of experts that went over the bus",
      [](const ExpertTraffic& layer) { return layer.bytes; });
}

}  // namespace

Metrics::Metrics()
    : responses_(prometheus::BuildCounter()
                     .Name("hlwq_http_responses_total")
                     .Help("HTTP responses by route and status")
                     .Register(registry_)),
      queue_seconds_(
          histogram(registry_, "hlwq_queue_seconds", "time until a request began", kSeconds)),
      first_token_seconds_(histogram(registry_, "hlwq_time_to_first_token_seconds",
                                     "from the request to its first token", kSeconds)),
      between_tokens_seconds_(histogram(registry_, "hlwq_inter_token_seconds",
                                        "from a token to the next of the same answer", kBetween)),
      request_seconds_(histogram(registry_, "hlwq_request_seconds",
                                 "from the request to the end of its answer", kSeconds)),
      prompt_tokens_(
          histogram(registry_, "hlwq_request_prompt_tokens", "tokens of a prompt", kTokens)),
      generated_tokens_(
          histogram(registry_, "hlwq_request_generated_tokens", "tokens of an answer", kTokens)),
      ended_(prometheus::BuildCounter()
                 .Name("hlwq_requests_ended_total")
                 .Help("requests by how they ended")
                 .Register(registry_)) {}

void Metrics::count_response(const std::string& route, int status) {
  responses_.Add({{"route", route}, {"status", std::to_string(status)}}).Increment();
}

std::string Metrics::text(const ServiceStats& stats, int64_t connections,
                          int64_t connections_refused) {
  Families more;
  more.gauge("hlwq_requests_running", "requests that are answered now", stats.running);
  more.gauge("hlwq_requests_waiting", "requests in the queue", stats.waiting);
  more.counter("hlwq_requests_refused_total", "requests refused because the queue was full",
               stats.refused);
  more.counter("hlwq_prompt_tokens_total", "prompt tokens computed", stats.prompt_tokens);
  more.counter("hlwq_generated_tokens_total", "tokens generated", stats.generated_tokens);
  more.counter("hlwq_steps_total", "steps of the model", stats.steps);
  more.counter("hlwq_prefix_cache_hits_total", "prompts whose beginning was known",
               stats.prefix_hits);
  more.counter("hlwq_prefix_cache_misses_total", "prompts whose beginning was not",
               stats.prefix_misses);
  more.counter("hlwq_prefix_cache_tokens_total", "prompt tokens that were not computed again",
               stats.prefix_tokens);
  more.gauge("hlwq_sequences", "requests that can be answered side by side", stats.sequences);
  more.gauge("hlwq_kv_pages", "pages of the KV cache", stats.kv_pages);
  more.gauge("hlwq_kv_pages_used", "pages of the KV cache in use", stats.kv_pages_used);
  more.gauge("hlwq_connections", "open HTTP connections", connections);
  more.counter("hlwq_connections_refused_total", "HTTP connections refused", connections_refused);
  add_memory(more, stats);
  add_experts(more, stats);
  std::vector<MetricFamily> families = registry_.Collect();
  for (MetricFamily& family : more.take()) families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

void AnswerTiming::token() {
  const Clock::time_point now = Clock::now();
  const auto since = [&](Clock::time_point then) {
    return std::chrono::duration<double>(now - then).count();
  };
  if (latest_) {
    metrics_.between_tokens_seconds_.Observe(since(*latest_));
  } else {
    metrics_.first_token_seconds_.Observe(since(asked_));
  }
  latest_ = now;
}

void AnswerTiming::end(const Result<GenerateResult>& result) {
  metrics_.ended_.Add({{"reason", result ? result->finish_reason : "error"}}).Increment();
  metrics_.request_seconds_.Observe(std::chrono::duration<double>(Clock::now() - asked_).count());
  if (!result) return;
  metrics_.queue_seconds_.Observe(result->wait_s);
  metrics_.prompt_tokens_.Observe(static_cast<double>(result->prompt_tokens));
  metrics_.generated_tokens_.Observe(static_cast<double>(result->generated_tokens));
}

}  // namespace hlwq::server
