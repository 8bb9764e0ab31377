#pragma once
// ppl --per-token: the score of every predicted token, as tab-separated text.

#include <span>
#include <string>

#include "hlwq/engine.h"
#include "io/file.h"

namespace hlwq::cli {

// A header line, then a line a token: window, position, id, nll, and with a reference kl and
// same_top (0 or 1). Written under a temporary name; there once `commit` has succeeded.
class ScoreFile {
 public:
  // Errors: kIo.
  static Result<ScoreFile> create(const std::string& path, bool compared);
  // Keeps the first error for `status` and `commit`; false once there is one.
  bool add(std::span<const TokenScore> scores);
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] Status commit();

 private:
  ScoreFile(OutputFile file, bool compared) : file_(std::move(file)), compared_(compared) {}
  OutputFile file_;
  bool compared_;
  Status status_;
};

}  // namespace hlwq::cli
