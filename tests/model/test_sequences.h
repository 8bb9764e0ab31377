#pragma once
// Sequence memory for tests of the model alone: host pools, pages handed out in a scrambled order,
// everything NaN at first so that reading what nobody wrote shows.

#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "base/float16.h"
#include "model/model.h"

namespace hlwq::test {

class TestSequences {
 public:
  TestSequences(const StateShape& shape, int64_t slots, int64_t context,
                DType kv_dtype = DType::kF32)
      : shape_(shape), pages_per_slot_((context + kPageTokens - 1) / kPageTokens) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const AttentionShape& a = shape.attention;
    const int64_t pages = slots * pages_per_slot_;
    page_bytes_ = 2 * a.kv_heads * kPageTokens * a.head_dim * bytes_of(kv_dtype);
    for (int64_t l = 0; l < shape.mamba_layers; ++l) {
      conv_.emplace_back(static_cast<size_t>(slots * shape.conv_floats()), nan);
      ssm_.emplace_back(static_cast<size_t>(slots * shape.ssm_floats()), nan);
    }
    for (auto& pool : conv_) conv_pointers_.push_back(pool.data());
    for (auto& pool : ssm_) ssm_pointers_.push_back(pool.data());
    tables_.resize(static_cast<size_t>(pages));
    std::iota(tables_.rbegin(), tables_.rend(), 0);  // last page first
    for (int64_t l = 0; l < shape.attention_layers; ++l)
      pages_.emplace_back(static_cast<size_t>(pages * page_bytes_), std::byte{0xff});  // NaNs
    for (auto& pool : pages_)
      kv_.push_back({.data = pool.data(),
                     .dtype = kv_dtype,
                     .page_bytes = page_bytes_,
                     .tables = tables_.data(),
                     .table_stride = pages_per_slot_});
  }
  TestSequences(const TestSequences&) = delete;
  TestSequences& operator=(const TestSequences&) = delete;

  [[nodiscard]] SequenceMemory memory() const {
    return {.conv = conv_pointers_, .ssm = ssm_pointers_, .kv = kv_};
  }
  // Of Mamba layer `layer`, counted among Mamba layers.
  [[nodiscard]] std::span<const float> conv(size_t layer, int64_t slot) const {
    const auto floats = static_cast<size_t>(shape_.conv_floats());
    return std::span(conv_[layer]).subspan(static_cast<size_t>(slot) * floats, floats);
  }
  [[nodiscard]] std::span<const float> ssm(size_t layer, int64_t slot) const {
    const auto floats = static_cast<size_t>(shape_.ssm_floats());
    return std::span(ssm_[layer]).subspan(static_cast<size_t>(slot) * floats, floats);
  }
  // The stored K (which = 0) or V (which = 1) vectors as [kv_heads, tokens, head_dim]; F32 pages.
  [[nodiscard]] std::vector<float> cached(size_t layer, int64_t slot, int which,
                                          int64_t tokens) const {
    const AttentionShape& a = shape_.attention;
    std::vector<float> out;
    for (int64_t head = 0; head < a.kv_heads; ++head)
      for (int64_t t = 0; t < tokens; ++t) {
        const int64_t page = tables_[static_cast<size_t>(slot * pages_per_slot_ + t / kPageTokens)];
        const auto* data =
            reinterpret_cast<const float*>(pages_[layer].data() + page * page_bytes_) +
            ((which * a.kv_heads + head) * kPageTokens + t % kPageTokens) * a.head_dim;
        out.insert(out.end(), data, data + a.head_dim);
      }
    return out;
  }

 private:
  StateShape shape_;
  int64_t pages_per_slot_ = 0, page_bytes_ = 0;
  std::vector<std::vector<float>> conv_, ssm_;
  std::vector<std::vector<std::byte>> pages_;
  std::vector<int32_t> tables_;
  std::vector<float*> conv_pointers_, ssm_pointers_;
  std::vector<KvPages> kv_;
};

}  // namespace hlwq::test
