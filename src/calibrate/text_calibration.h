#pragma once
// Calibration by running the model itself over a text.

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "calibrate/feedback.h"
#include "calibrate/text_model.h"
#include "convert/calibration.h"

namespace hlwq {

struct TextCalibrationOptions {
  // Of an input, for its matrix to be known: fewer say too little about so many directions.
  int64_t fewest_tokens = 128;
  size_t memory_bytes = size_t{8} << 30;  // for what is known at once
  FeedbackSettings feedback = FeedbackSettings();
  // Of matrices whose rows are looked up as well (tied embeddings): then the weights' own error
  // counts beside that of the product, and this is its share.
  double lookup_damping = 1.0;
};

class TextCalibration final : public Calibration {
 public:
  // `model` must outlive the object.
  TextCalibration(TextModel& model, const TextCalibrationOptions& options)
      : model_(model), options_(options) {}

  [[nodiscard]] size_t fits(std::span<const MatrixName> matrices) const override;
  [[nodiscard]] Status learn(std::span<const MatrixName> matrices) override;
  [[nodiscard]] bool knows(const std::string& name) const override;
  [[nodiscard]] Result<Distortion> encode(const std::string& name, std::span<const float> weights,
                                          std::span<const float> levels, std::span<uint8_t> codes,
                                          std::span<uint16_t> norms) const override;
  [[nodiscard]] const std::vector<UncoveredMatrix>& uncovered() const override {
    return uncovered_;
  }
  [[nodiscard]] std::string description() const override;

 private:
  // Matrices that share their inputs.
  struct Group {
    std::shared_ptr<const Moments> moments;
    std::vector<std::string> names;
    bool looked_up = false;
  };
  [[nodiscard]] std::vector<Group> covered(std::span<const MatrixName> matrices);

  TextModel& model_;
  TextCalibrationOptions options_;
  std::unordered_map<std::string, std::shared_ptr<const Feedback>> known_;
  std::vector<UncoveredMatrix> uncovered_;
};

}  // namespace hlwq
