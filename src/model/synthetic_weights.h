#pragma once
// Random weights in a back end's memory, in the forms a coded checkpoint has.

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "model/placement.h"
#include "model/synthetic.h"
#include "ops/backend.h"

namespace hlwq {

class SyntheticWeights final : public ParameterPlacer {
 public:
  // `spec` must outlive this.
  static Result<std::unique_ptr<SyntheticWeights>> plan(const SyntheticSpec& spec);

  // Allocates and fills; once. Errors: kOutOfMemory.
  [[nodiscard]] Result<ModelWeights> make(Backend& backend, ExpertHome& home);

 private:
  explicit SyntheticWeights(const SyntheticSpec& spec) : spec_(spec) {}

  std::optional<Matrix> form(const std::string& name, Kind kind, int64_t rows,
                             int64_t cols) override;
  // Standard deviation of the decoded weights of a coded matrix.
  [[nodiscard]] double deviation_of(const PlacedParameter& parameter) const;
  // `on_host`: by the processor, where no op of the back end reaches.
  void fill_coded(const PlacedParameter& parameter, uint64_t seed, Backend& backend,
                  bool on_host) const;
  void fill_gate(const Matrix& gate, uint64_t seed, Backend& backend) const;
  void fill_values(const PlacedParameter& parameter, uint64_t seed, Backend& backend) const;

  const SyntheticSpec& spec_;
  const LevelGrid* grid_ = nullptr;  // one for all
  double level_deviation_ = 0;       // of the levels when every code is as likely
};

}  // namespace hlwq
