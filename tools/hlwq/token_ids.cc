#include "token_ids.h"

#include <fmt/format.h>

#include <charconv>

#include "io/printable.h"

namespace hlwq::cli {

Result<std::vector<int32_t>> parse_ids(std::string_view text, std::string_view where) {
  constexpr std::string_view kSeparators = ", \t\r\n";
  std::vector<int32_t> ids;
  for (size_t at = text.find_first_not_of(kSeparators); at != std::string_view::npos;
       at = text.find_first_not_of(kSeparators, at)) {
    const size_t end = std::min(text.find_first_of(kSeparators, at), text.size());
    const std::string_view word = text.substr(at, end - at);
    int32_t id = -1;
    const auto [stopped, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || stopped != word.data() + word.size() || id < 0)
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{}: '{}' is no token id; wanted numbers separated by commas or blanks",
                      where, printable(word, 40)));
    ids.push_back(id);
    at = end;
  }
  if (ids.empty()) return fail(ErrorCode::kInvalidArgument, fmt::format("{}: no token ids", where));
  return ids;
}

}  // namespace hlwq::cli
