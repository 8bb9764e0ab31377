// Layers '*': grouped-query attention (docs/math.md#attention), with rotary positions where the
// configuration has them.

#include <array>

#include "model/layers/layers.h"

namespace hlwq {

void visit_attention(const ModelConfig& config, const std::string& prefix, AttentionWeights& w,
                     ParameterVisitor& visitor) {
  const int64_t queries = config.attention.heads * config.attention.head_dim;
  const int64_t keys = config.attention.kv_heads * config.attention.head_dim;
  const bool bias = config.attention_bias;
  visitor.matrix(prefix + "q_proj.weight", queries, config.hidden, w.q);
  if (bias) visitor.values(prefix + "q_proj.bias", {queries}, w.q_bias);
  visitor.matrix(prefix + "k_proj.weight", keys, config.hidden, w.k);
  if (bias) visitor.values(prefix + "k_proj.bias", {keys}, w.k_bias);
  visitor.matrix(prefix + "v_proj.weight", keys, config.hidden, w.v);
  if (bias) visitor.values(prefix + "v_proj.bias", {keys}, w.v_bias);
  visitor.matrix(prefix + "o_proj.weight", config.hidden, queries, w.o);
  if (bias) visitor.values(prefix + "o_proj.bias", {config.hidden}, w.o_bias);
}

void run_attention(const StepContext& step, const AttentionWeights& w, const float* norm,
                   const KvPages& pages) {
  const AttentionShape& a = step.config.attention;
  const int64_t tokens = step.tokens;
  const bool coded = w.q.coded() || w.k.coded() || w.v.coded();
  const Activation u = step.normed(coded);
  float* const data = step.buffers.projected.data();
  const int64_t queries = a.heads * a.head_dim, keys = a.kv_heads * a.head_dim;
  const MutF32View q = dense(data, tokens, queries);
  const MutF32View k = dense(data + tokens * queries, tokens, keys);
  const MutF32View v = dense(data + tokens * (queries + keys), tokens, keys);
  const std::array in = {Projection{.weight = w.q, .bias = w.q_bias, .y = q},
                         Projection{.weight = w.k, .bias = w.k_bias, .y = k},
                         Projection{.weight = w.v, .bias = w.v_bias, .y = v}};
  step.backend.project({.x = u, .projections = in, .norm = step.norm_of(norm)});

  if (step.config.rope)
    step.backend.rotary({.shape = a,
                         .table = step.buffers.rope_table(),
                         .segments = step.segments,
                         .q = q,
                         .k = k});

  const Activation mixed = step.buffers.mixed.view(tokens, queries, w.o.coded());
  step.backend.attention({.shape = a,
                          .q = q,
                          .k = k,
                          .v = v,
                          .pages = pages,
                          .segments = step.segments,
                          .out = mixed});

  const std::array out = {
      Projection{.weight = w.o, .bias = w.o_bias, .y = step.residual(), .accumulate = true}};
  step.backend.project({.x = mixed, .projections = out});
}

}  // namespace hlwq
