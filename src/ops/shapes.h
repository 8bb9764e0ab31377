#pragma once
// Shapes and positions that ops and device code share: plain structs without other includes.

#include <cstdint>

namespace hlwq {

// A run of consecutive tokens of one sequence within a step.
struct Segment {
  int64_t first_token = 0, tokens = 0;  // rows of the step's activations
  int64_t position = 0;                 // of the first of them in its sequence
  int64_t slot = 0;                     // of the sequence's state
};

struct MambaShape {
  int64_t heads, head_dim, groups, state, kernel;
  [[nodiscard]] int64_t inner() const { return heads * head_dim; }
  [[nodiscard]] int64_t conv_channels() const { return inner() + 2 * groups * state; }
  [[nodiscard]] int64_t projected() const { return inner() + conv_channels() + heads; }
};

struct AttentionShape {
  int64_t heads, kv_heads, head_dim;
};

// Tokens of a KV page.
inline constexpr int64_t kPageTokens = 64;

}  // namespace hlwq
