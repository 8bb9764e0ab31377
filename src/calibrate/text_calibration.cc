#include "calibrate/text_calibration.h"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "base/check.h"
#include "base/sha256.h"
#include "calibrate/encode_calibrated.h"

namespace hlwq {

size_t TextCalibration::fits(std::span<const MatrixName> matrices) const {
  size_t bytes = 0, count = 0;
  for (const MatrixName& matrix : matrices) {
    bytes += Moments::bytes_for(matrix.cols);
    if (count > 0 && bytes > options_.memory_bytes) break;
    ++count;
  }
  return count;
}

std::vector<TextCalibration::Group> TextCalibration::covered(std::span<const MatrixName> matrices) {
  std::map<const Moments*, size_t> places;
  std::vector<Group> groups;
  for (const MatrixName& name : matrices) {
    const Matrix* const matrix = model_.find(name.name);
    if (matrix == nullptr) continue;
    const auto moments = model_.watching().moments(matrix->data);
    const int64_t tokens = moments == nullptr ? 0 : moments->tokens();
    if (tokens < options_.fewest_tokens) {
      if (tokens > 0 || !model_.watching().looked_up(matrix->data))
        uncovered_.push_back({name.name, tokens});
      continue;
    }
    const auto [place, is_new] = places.emplace(moments.get(), groups.size());
    if (is_new) groups.push_back({.moments = moments, .names = {}});
    Group& group = groups[place->second];
    group.names.push_back(name.name);
    group.looked_up = group.looked_up || model_.watching().looked_up(matrix->data);
  }
  return groups;
}

Status TextCalibration::learn(std::span<const MatrixName> matrices) {
  known_.clear();
  for (const MatrixName& name : matrices) {
    if (const Matrix* const matrix = model_.find(name.name); matrix != nullptr)
      model_.watching().watch(matrix->data);
  }
  Status ran = model_.run(model_.windows(), {});
  if (ran) ran = model_.watching().looked();
  std::vector<Group> groups = ran ? covered(matrices) : std::vector<Group>();
  model_.watching().forget();
  HLWQ_TRY(ran);
  std::vector<Result<Feedback>> made(groups.size());
  model_.pool().run(static_cast<int64_t>(groups.size()), [&](int64_t i) {
    Group& group = groups[static_cast<size_t>(i)];
    FeedbackSettings settings = options_.feedback;
    if (group.looked_up) settings.damping = options_.lookup_damping;
    made[static_cast<size_t>(i)] = make_feedback(*group.moments, settings);
    group.moments.reset();
  });
  for (size_t i = 0; i < groups.size(); ++i) {
    if (!made[i])
      return fail(made[i].error().code,
                  fmt::format("{}: {}", groups[i].names.front(), made[i].error().message));
    const auto feedback = std::make_shared<const Feedback>(std::move(*made[i]));
    for (const std::string& name : groups[i].names) known_.emplace(name, feedback);
  }
  return {};
}

bool TextCalibration::knows(const std::string& name) const { return known_.contains(name); }

Result<Distortion> TextCalibration::encode(const std::string& name, std::span<const float> weights,
                                           std::span<const float> levels, std::span<uint8_t> codes,
                                           std::span<uint16_t> norms) const {
  const auto found = known_.find(name);
  HLWQ_CHECK(found != known_.end());
  return encode_rows_calibrated(weights, *found->second, levels, codes, norms);
}

std::string TextCalibration::description() const {
  const CalibrationText& text = model_.text();
  return fmt::format("calibrated on {} tokens of {} (ids {})", text.ids.size(), text.name,
                     sha256_hex(std::as_bytes(std::span(text.ids))).substr(0, 12));
}

}  // namespace hlwq
