#pragma once
// A plain model with the text it is run over: what calibrated rounding and the allocation of bits
// learn from.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "calibrate/watching_backend.h"
#include "model/model.h"

namespace hlwq {

struct CalibrationText {
  std::vector<int32_t> ids;
  std::string name;      // for what the checkpoint says of itself
  int64_t window = 512;  // tokens; each window on its own
};

class TextModel {
 public:
  // Loads the plain checkpoint `path` onto `backend`, which must outlive the object. The text's
  // last tokens that fill no window are left out. Errors: as load_model; kInvalidArgument (a text
  // shorter than a window).
  static Result<std::unique_ptr<TextModel>> create(const std::string& path, Backend& backend,
                                                   CalibrationText text);

  [[nodiscard]] const CalibrationText& text() const { return text_; }
  [[nodiscard]] int64_t windows() const {
    return static_cast<int64_t>(text_.ids.size()) / text_.window;
  }
  [[nodiscard]] int64_t vocabulary() const { return model_->config().vocabulary; }
  [[nodiscard]] ThreadPool& pool() { return pool_; }
  [[nodiscard]] WatchingBackend& watching() { return watching_; }
  // Null when the model has no matrix of that name.
  [[nodiscard]] const Matrix* find(const std::string& name) const;

  // Runs the first `windows` of the text. `take` (may be empty) gets logits on the host, of whole
  // windows [first_window, ...) one after the other. Errors: as Session::step, kCancelled, and
  // kBadValue when activations were not finite.
  using TakeLogits = std::function<void(int64_t first_window, F32View logits)>;
  [[nodiscard]] Status run(int64_t windows, const TakeLogits& take);
  // Rows [first_row, ...) of a plain matrix of the model become these, in its own type.
  void replace_rows(const Matrix& matrix, int64_t first_row, std::span<const float> rows);

  // Told of tokens done in a run and in all of it; may be empty.
  std::function<void(int64_t done, int64_t total)> progress;
  const std::atomic<bool>* cancel = nullptr;

 private:
  TextModel(Backend& backend, CalibrationText text);

  CalibrationText text_;
  ThreadPool pool_;
  WatchingBackend watching_;
  std::unordered_map<std::string, Matrix> matrices_;
  std::unique_ptr<Model> model_;
};

}  // namespace hlwq
