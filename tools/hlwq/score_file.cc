#include "score_file.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

namespace hlwq::cli {

Result<ScoreFile> ScoreFile::create(const std::string& path, bool compared) {
  HLWQ_TRY_ASSIGN(OutputFile file, OutputFile::create(path));
  ScoreFile scores(std::move(file), compared);
  const std::string head =
      compared ? "window\tposition\tid\tnll\tkl\tsame_top\n" : "window\tposition\tid\tnll\n";
  HLWQ_TRY(scores.file_.append(std::as_bytes(std::span(head))));
  return scores;
}

bool ScoreFile::add(std::span<const TokenScore> scores) {
  std::string lines;
  const auto out = std::back_inserter(lines);
  for (const TokenScore& score : scores) {
    fmt::format_to(out, "{}\t{}\t{}\t{:.9g}", score.window, score.position, score.id, score.nll);
    if (compared_) fmt::format_to(out, "\t{:.9g}\t{}", score.kl, score.same_top ? 1 : 0);
    lines += '\n';
  }
  if (status_) status_ = file_.append(std::as_bytes(std::span(lines)));
  return status_.has_value();
}

Status ScoreFile::commit() {
  HLWQ_TRY(status_);
  return file_.commit();
}

}  // namespace hlwq::cli
