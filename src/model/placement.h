#pragma once
// Where the parameters of a model lie on a back end. First every parameter gets its form, which
// gives the bytes before anything is allocated; then all of them get their addresses. The loader
// and the synthetic models say what the forms are and fill the memory.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/config.h"
#include "model/expert_home.h"
#include "model/weights.h"
#include "ops/backend.h"

namespace hlwq {

// One parameter with its form: rows, columns, type, grid and layout; `data` once it is placed.
struct PlacedParameter {
  std::string name;
  Matrix form;
};

// Bytes of weights.
struct WeightBytes {
  size_t experts = 0;
  size_t embeddings = 0;  // 0: they are the head too, and among the others
  size_t others = 0;
  [[nodiscard]] size_t total() const { return experts + embeddings + others; }
};

class ParameterPlacer : public ParameterVisitor {
 public:
  [[nodiscard]] WeightBytes bytes() const;
  [[nodiscard]] bool coded() const { return coded_; }  // any coded matrix

  void matrix(const std::string& name, int64_t rows, int64_t cols, Matrix& out) override;
  void plain_matrix(const std::string& name, int64_t rows, int64_t cols, Matrix& out) override;
  void values(const std::string& name, const std::vector<int64_t>& shape,
              const float*& out) override;
  void experts(const std::string& prefix, int64_t width, int64_t input,
               std::vector<Mlp>& out) override;

 protected:
  enum class Kind { kMatrix, kPlainMatrix, kValues };  // which call told of it

  // The form of a parameter, but for its address. Nothing after refuse().
  virtual std::optional<Matrix> form(const std::string& name, Kind kind, int64_t rows,
                                     int64_t cols) = 0;
  // The first error stays; the visit then goes on without effect.
  void refuse(Error error);

  // Asks for the form of every parameter of the configuration.
  [[nodiscard]] Status find_forms(const ModelConfig& config);
  // Allocates: one buffer an MoE layer for its experts, each a record [up | down] of parts at
  // multiples of kRecordAlign, one for the embeddings, of which a step reads a row a token, where
  // the experts are, and one for everything else. Errors: kOutOfMemory.
  [[nodiscard]] Status place(const ModelConfig& config, Backend& backend, ExpertHome& home);
  // Where parameters()[i] lies.
  [[nodiscard]] Device device_of(size_t i) const { return buffer_of(targets_[i]).device(); }
  [[nodiscard]] const std::vector<PlacedParameter>& parameters() const { return parameters_; }

  ModelWeights weights_;

 private:
  static constexpr int64_t kOthers = -1, kEmbeddings = -2;  // in place of an MoE layer
  // Where the model wants the address of parameters_[i], and where it lies.
  struct Target {
    Matrix* matrix = nullptr;
    const float** values = nullptr;
    int64_t moe_layer = kOthers;
    size_t offset = 0;  // in the layer's buffer, the embeddings' or that of everything else
  };
  [[nodiscard]] const Buffer& buffer_of(const Target& target) const {
    if (target.moe_layer == kOthers) return weights_.memory;
    if (target.moe_layer == kEmbeddings) return weights_.embedding_memory;
    return weights_.expert_memory[static_cast<size_t>(target.moe_layer)];
  }
  void add(const std::string& name, Kind kind, int64_t rows, int64_t cols, Target target,
           size_t& bytes);

  std::vector<PlacedParameter> parameters_;
  std::vector<Target> targets_;
  std::vector<size_t> expert_bytes_;  // of each MoE layer
  size_t other_bytes_ = 0, embedding_bytes_ = 0;
  bool tied_ = false;  // the embeddings are the head
  bool coded_ = false;
  std::optional<Error> error_;
};

}  // namespace hlwq
