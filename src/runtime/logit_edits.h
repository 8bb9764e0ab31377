#pragma once
// What a request asks of logits before sampling that back ends do not do: they are changed on the
// host, in a copy of the row, only for requests that ask.

#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hlwq {

// Which tokens may come next. The grammar's matcher implements it in api, because runtime knows no
// text. The caller draws freely first and asks for the mask only when the draw is refused: most are
// not, and a mask costs as much as a pass over the vocabulary.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  [[nodiscard]] virtual bool allows(int32_t id) = 0;
  // Bit id % 64 of word id / 64 of every id that allows(); `mask` comes zeroed.
  virtual void allowed(std::span<uint64_t> mask) = 0;
  // The token that was chosen. False when the constraint cannot be followed further.
  [[nodiscard]] virtual bool accept(int32_t id) = 0;
  // Whether nothing but the end may follow.
  [[nodiscard]] virtual bool is_complete() = 0;
};

struct LogitEdits {
  std::vector<std::pair<int32_t, float>> bias;  // added to the logits of ids
  float presence_penalty = 0;                   // subtracted once from an id that was generated
  float frequency_penalty = 0;                  // and for each time it was

  [[nodiscard]] bool any() const {
    return !bias.empty() || presence_penalty != 0 || frequency_penalty != 0;
  }
};

// `counts`: how often ids were generated. Ids outside the row do nothing.
void apply_edits(const LogitEdits& edits, const std::unordered_map<int32_t, int64_t>& counts,
                 std::span<float> row);
// Logits of ids that are not in the mask become minus infinity.
void apply_mask(std::span<const uint64_t> mask, std::span<float> row);

}  // namespace hlwq
