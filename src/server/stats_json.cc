#include "server/stats_json.h"

#include "base/process_memory.h"

namespace hlwq::server {
namespace {

OrderedJson model_json(const Context& context) {
  const Engine& engine = context.service.engine();
  const ModelInfo& info = engine.info();
  const SamplingOptions sampling = engine.resolve({});
  const ChatAbilities chat = engine.chat_abilities();
  return {{"id", context.model},
          {"device", info.device},
          {"backend", info.backend},
          {"compute", info.compute},
          {"context", info.context},
          {"layers", info.layers},
          {"vocabulary", info.vocabulary},
          {"weight_bytes", info.weight_bytes},
          {"sampling",
           {{"temperature", *sampling.temperature},
            {"top_p", *sampling.top_p},
            {"top_k", *sampling.top_k},
            {"min_p", *sampling.min_p},
            {"repeat_penalty", *sampling.repeat_penalty}}},
          {"chat", chat.has_template},
          {"thinking", chat.thinking},
          {"tools", chat.tools}};
}

}  // namespace

OrderedJson stats_json(const Context& context) {
  const ServiceStats stats = context.service.stats();
  OrderedJson experts = OrderedJson::array();
  for (size_t layer = 0; layer < stats.experts.size(); ++layer) {
    const ExpertTraffic& traffic = stats.experts[layer];
    experts.push_back({{"layer", layer},
                       {"hits", traffic.hits},
                       {"misses", traffic.misses},
                       {"on_cpu", traffic.on_cpu},
                       {"in_place", traffic.in_place},
                       {"bytes", traffic.bytes}});
  }
  return {{"model", model_json(context)},
          {"version", version()},
          {"uptime_s", stats.uptime_s},
          {"requests",
           {{"running", stats.running},
            {"waiting", stats.waiting},
            {"finished", stats.finished},
            {"failed", stats.failed},
            {"refused", stats.refused}}},
          {"tokens", {{"prompt", stats.prompt_tokens}, {"generated", stats.generated_tokens}}},
          {"rates", {{"prompt_tok_s", stats.prompt_tok_s}, {"decode_tok_s", stats.decode_tok_s}}},
          {"sequences", {{"used", stats.running}, {"total", stats.sequences}}},
          {"kv",
           {{"pages_used", stats.kv_pages_used},
            {"pages_total", stats.kv_pages},
            {"page_tokens", stats.kv_page_tokens},
            {"bytes_used", stats.kv_pages_used * stats.kv_page_bytes},
            {"bytes_total", stats.kv_pages * stats.kv_page_bytes}}},
          {"prefix_cache",
           {{"bytes", stats.prefix_bytes},
            {"limit_bytes", stats.prefix_limit_bytes},
            {"entries", stats.prefix_entries},
            {"hits", stats.prefix_hits},
            {"misses", stats.prefix_misses},
            {"tokens_reused", stats.prefix_tokens}}},
          {"memory",
           {{"device_total", stats.device_total},
            {"device_free", stats.device_free},
            {"device_allocated", stats.device_allocated},
            {"host_resident", rss_bytes()}}},
          {"experts", std::move(experts)}};
}

}  // namespace hlwq::server
