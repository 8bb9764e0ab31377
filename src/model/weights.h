#pragma once
// The weights of a model, one struct a kind of mixer, and the one list of parameters that
// both the expected tensors and the loader follow. Borrowed pointers: ModelWeights owns the memory.

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "model/config.h"
#include "ops/matrix.h"
#include "tensor/buffer.h"

namespace hlwq {

// Vectors are FP32 whatever the file has; a null pointer is a bias the configuration does not have.
struct MambaWeights {
  Matrix in_proj;                      // [2*inner + 2*groups*state + heads, hidden]
  const float* in_bias = nullptr;      // [rows of in_proj]
  const float* conv_weight = nullptr;  // [conv_channels, kernel]
  const float* conv_bias = nullptr;    // [conv_channels]
  const float* dt_bias = nullptr;      // [heads]
  const float* a_log = nullptr;        // [heads]
  const float* d = nullptr;            // [heads]
  const float* norm = nullptr;         // [inner]
  Matrix out_proj;                     // [hidden, inner]
  const float* out_bias = nullptr;     // [hidden]
};

struct AttentionWeights {
  Matrix q, k, v, o;
  const float *q_bias = nullptr, *k_bias = nullptr, *v_bias = nullptr, *o_bias = nullptr;
};

struct MlpWeights {
  Mlp mlp;
  const float *up_bias = nullptr, *down_bias = nullptr;
};

struct GatedMlpWeights {
  Matrix gate, up, down;  // [width, hidden] twice, [hidden, width]
  const float *gate_bias = nullptr, *up_bias = nullptr, *down_bias = nullptr;
};

struct MoeWeights {
  Matrix gate;                             // [experts, hidden], plain
  const float* correction_bias = nullptr;  // [experts]
  std::vector<Mlp> experts;    // up [width, hidden or latent], down the other way; the loader
                               // fills it, the expert runner takes it
  bool experts_coded = false;  // any up matrix of them is coded
  size_t expert_bytes = 0;     // up and down of one
  Mlp shared;                  // empty without a shared expert
  Matrix fc1, fc2;             // [latent, hidden], [hidden, latent]; empty without
};

struct LayerWeights {
  const float* norm = nullptr;  // [hidden]
  std::variant<MambaWeights, AttentionWeights, MlpWeights, MoeWeights, GatedMlpWeights> mixer;
};

struct ModelWeights {
  Matrix embeddings, head;        // [vocabulary, hidden]; the same memory when tied
  const float* norm_f = nullptr;  // [hidden]
  std::vector<LayerWeights> layers;
  bool coded = false;  // any coded matrix

  std::vector<std::unique_ptr<const LevelGrid>> grids;  // distinct level tables, on the host
  Buffer memory;                                        // of everything else but
  Buffer embedding_memory;            // the embeddings, when they are not the head
  std::vector<Buffer> expert_memory;  // one a MoE layer, in order
};

// Told of every parameter in the order of the layers. `name` is canonical.
class ParameterVisitor {
 public:
  virtual ~ParameterVisitor() = default;
  // A matrix of products: kept coded or in its stored float type.
  virtual void matrix(const std::string& name, int64_t rows, int64_t cols, Matrix& out) = 0;
  // A matrix the engine reads only plain (routers): decoded to FP32 should a file have it coded.
  virtual void plain_matrix(const std::string& name, int64_t rows, int64_t cols, Matrix& out) = 0;
  // Anything else: FP32, whatever the file has.
  virtual void values(const std::string& name, const std::vector<int64_t>& shape,
                      const float*& out) = 0;
  // The routed experts of a layer: `prefix`.{e}.up_proj.weight [width, input] and
  // .down_proj.weight [input, width]; `out` has one entry an expert.
  virtual void experts(const std::string& prefix, int64_t width, int64_t input,
                       std::vector<Mlp>& out) = 0;
};

// Visits all parameters of a model with this configuration and gives `weights` its layers. The
// head is not visited when it is tied.
void visit_parameters(const ModelConfig& config, ModelWeights& weights, ParameterVisitor& visitor);

// Of one mixer, whose names begin with `prefix`. Each is beside its forward pass.
void visit_mamba(const ModelConfig& config, const std::string& prefix, MambaWeights& weights,
                 ParameterVisitor& visitor);
void visit_attention(const ModelConfig& config, const std::string& prefix,
                     AttentionWeights& weights, ParameterVisitor& visitor);
void visit_mlp(const ModelConfig& config, int64_t width, const std::string& prefix,
               MlpWeights& weights, ParameterVisitor& visitor);
void visit_gated_mlp(const ModelConfig& config, int64_t width, const std::string& prefix,
                     GatedMlpWeights& weights, ParameterVisitor& visitor);
void visit_moe(const ModelConfig& config, const MoeConfig& moe, const std::string& prefix,
               MoeWeights& weights, ParameterVisitor& visitor);

}  // namespace hlwq
