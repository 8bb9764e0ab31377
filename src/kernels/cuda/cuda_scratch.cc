// The arena of CudaBackend: every buffer that ops need between their kernels, sized once.

#include <algorithm>

#include "base/checked.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/tiled5_product.h"

namespace hlwq::cuda {
namespace {

// Lays arrays one after the other, each at a multiple of 256 bytes: first to measure, then to
// place.
class Arena {
 public:
  template <typename T>
  void add(T*& pointer, int64_t count) {
    if (base_ != nullptr) pointer = count > 0 ? reinterpret_cast<T*>(base_ + bytes_) : nullptr;
    bytes_ += static_cast<size_t>(round_up(count * static_cast<int64_t>(sizeof(T)), 256));
  }
  // Sizes are known now; the next adds place.
  void place(std::byte* base) {
    base_ = base;
    bytes_ = most_ = 0;
  }
  [[nodiscard]] size_t here() const { return bytes_; }
  // The next adds lie over what was added since.
  void start_over(size_t where) {
    most_ = std::max(most_, bytes_);
    bytes_ = where;
  }
  [[nodiscard]] size_t bytes() const { return std::max(most_, bytes_); }

 private:
  std::byte* base_ = nullptr;
  size_t bytes_ = 0, most_ = 0;
};

}  // namespace

Status CudaBackend::reserve_scratch(const ScratchNeeds& needs) {
  Scratch s;
  s.tokens = needs.tokens;
  s.pairs = needs.tokens * needs.experts_used;
  s.width = needs.width;
  s.mlp_width = needs.mlp_width;
  s.expert_width = needs.expert_width > 0 ? needs.expert_width : needs.mlp_width;
  s.sum_width = needs.sum_width > 0 ? needs.sum_width : needs.width;
  s.experts = needs.experts;
  s.attention_splits = attention_splits_for(needs.context);
  const auto padded = [](int64_t width) { return blocks_of(width) * kBlock; };
  // Hidden rows: of a dense MLP for every token, or of the experts for every pair with one row of
  // the shared expert beside them.
  const int64_t hidden = std::max(s.tokens * padded(s.mlp_width),
                                  s.pairs * padded(s.expert_width) + padded(s.mlp_width));
  const bool exact = compute_ == Compute::kExact;
  const MambaShape& mamba = needs.mamba;
  const AttentionShape& attention = needs.attention;
  const auto lay = [&](Arena& arena) {
    arena.add(s.route_arrivals, s.experts > 0 ? 1 : 0);
    arena.add(s.counters, s.tokens * mamba.groups);
    const size_t shared = arena.here();
    arena.add(s.rotated, exact ? s.tokens * padded(s.width) : 0);
    arena.add(s.hidden, hidden);
    arena.add(s.hidden_q.xq, exact ? 0 : hidden);
    arena.add(s.hidden_q.sx, exact ? 0 : hidden / kBlock);
    arena.add(s.hidden_q.sum, exact ? 0 : hidden / kBlock);
    arena.add(s.hidden_rotated, exact ? hidden : 0);
    arena.add(s.expert_out, s.pairs * s.sum_width);
    arena.add(s.shared_out, s.pairs > 0 ? s.tokens * s.sum_width : 0);
    arena.add(s.pair_token, s.pairs);
    arena.add(s.choice_pair, s.pairs);
    arena.add(s.expert_begin, s.pairs > 0 ? s.experts + 1 : 0);
    arena.add(s.tiles, s.pairs > 0 ? s.pairs / kManyRows[0] + s.experts + 1 : 0);
    arena.add(s.tile_count, s.pairs > 0 ? 1 : 0);
    arena.add(s.scores, s.tokens * s.experts);
    arena.start_over(shared);
    arena.add(s.convolved, s.tokens * mamba.conv_channels());
    arena.add(s.decay, s.tokens * mamba.heads);
    arena.add(s.time_step, s.tokens * mamba.heads);
    arena.add(s.attention_parts, attention.heads > 0 ? s.attention_splits * attention.heads *
                                                           attention_record(attention.head_dim)
                                                     : 0);
  };
  Arena arena;
  lay(arena);
  arena_ = Buffer();  // the old one goes before the new one comes
  HLWQ_TRY_ASSIGN(arena_, allocate_device(arena.bytes(), "scratch of the ops"));
  arena.place(arena_.data());
  lay(arena);
  scratch_ = s;
  return {};
}

}  // namespace hlwq::cuda
