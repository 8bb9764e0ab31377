// Rotary positions.

#include "ops/rotary.h"

#include "base/check.h"
#include "ops/reference/reference_backend.h"

namespace hlwq {

void ReferenceBackend::rotary(const RotaryArgs& args) {
  const int64_t head_dim = args.shape.head_dim, pairs = head_dim / 2;
  HLWQ_CHECK(head_dim % 2 == 0 && args.table != nullptr && args.q.rows == args.k.rows);
  HLWQ_CHECK(args.q.cols == args.shape.heads * head_dim);
  HLWQ_CHECK(args.k.cols == args.shape.kv_heads * head_dim);
  const auto turn = [&](float* row, int64_t heads, const float* angles) {
    for (int64_t h = 0; h < heads; ++h) {
      float* const head = row + h * head_dim;
      for (int64_t i = 0; i < pairs; ++i) {
        const TurnedPair turned = turn_pair(head[i], head[pairs + i], angles[i], angles[pairs + i]);
        head[i] = turned.first;
        head[pairs + i] = turned.second;
      }
    }
  };
  for (const Segment& segment : args.segments) {
    for (int64_t t = 0; t < segment.tokens; ++t) {
      const float* const angles = args.table + (segment.position + t) * head_dim;
      turn(args.q.row(segment.first_token + t), args.shape.heads, angles);
      turn(args.k.row(segment.first_token + t), args.shape.kv_heads, angles);
    }
  }
}

}  // namespace hlwq
