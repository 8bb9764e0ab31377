#pragma once
// Sequence memory for tests of the model alone: pools that every back end can read and write, pages
// handed out in a scrambled order, everything NaN at first so that reading what nobody wrote shows.

#include <algorithm>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

#include "kernels/backends.h"
#include "model/model.h"

namespace hlwq::test {

class TestSequences {
 public:
  TestSequences(const StateShape& shape, int64_t slots, int64_t context,
                DType kv_dtype = DType::kF32)
      : shape_(shape), pages_per_slot_((context + kPageTokens - 1) / kPageTokens) {
    const AttentionShape& a = shape.attention;
    const int64_t pages = slots * pages_per_slot_;
    page_bytes_ = 2 * a.kv_heads * kPageTokens * a.head_dim * bytes_of(kv_dtype);
    for (int64_t l = 0; l < shape.mamba_layers; ++l) {
      conv_.push_back(nans(slots * shape.conv_floats() * 4));
      ssm_.push_back(nans(slots * shape.ssm_floats() * 4));
    }
    for (const Buffer& pool : conv_) conv_pointers_.push_back(pool.as<float>().data());
    for (const Buffer& pool : ssm_) ssm_pointers_.push_back(pool.as<float>().data());
    tables_ = nans(pages * 4);
    for (int64_t i = 0; i < pages; ++i)  // last page first
      tables_.as<int32_t>()[static_cast<size_t>(i)] = static_cast<int32_t>(pages - 1 - i);
    for (int64_t l = 0; l < shape.attention_layers; ++l)
      pages_.push_back(nans(pages * page_bytes_));
    for (const Buffer& pool : pages_)
      kv_.push_back({.data = pool.data(),
                     .dtype = kv_dtype,
                     .page_bytes = page_bytes_,
                     .tables = tables_.as<int32_t>().data(),
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
    return conv_[layer].as<float>().subspan(static_cast<size_t>(slot) * floats, floats);
  }
  [[nodiscard]] std::span<const float> ssm(size_t layer, int64_t slot) const {
    const auto floats = static_cast<size_t>(shape_.ssm_floats());
    return ssm_[layer].as<float>().subspan(static_cast<size_t>(slot) * floats, floats);
  }
  // The stored K (which = 0) or V (which = 1) vectors as [kv_heads, tokens, head_dim]; F32 pages.
  [[nodiscard]] std::vector<float> cached(size_t layer, int64_t slot, int which,
                                          int64_t tokens) const {
    const AttentionShape& a = shape_.attention;
    std::vector<float> out;
    for (int64_t head = 0; head < a.kv_heads; ++head)
      for (int64_t t = 0; t < tokens; ++t) {
        const int64_t page =
            tables_.as<int32_t>()[static_cast<size_t>(slot * pages_per_slot_ + t / kPageTokens)];
        const auto* data =
            reinterpret_cast<const float*>(pages_[layer].data() + page * page_bytes_) +
            ((which * a.kv_heads + head) * kPageTokens + t % kPageTokens) * a.head_dim;
        out.insert(out.end(), data, data + a.head_dim);
      }
    return out;
  }

 private:
  static Buffer nans(int64_t bytes) {
    auto buffer = allocate_shared(static_cast<size_t>(bytes), "test");
    if (!buffer) throw std::runtime_error(buffer.error().message);
    std::ranges::fill(buffer->as<std::byte>(), std::byte{0xff});
    return *std::move(buffer);
  }

  StateShape shape_;
  int64_t pages_per_slot_ = 0, page_bytes_ = 0;
  std::vector<Buffer> conv_, ssm_, pages_;
  Buffer tables_;
  std::vector<float*> conv_pointers_, ssm_pointers_;
  std::vector<KvPages> kv_;
};

}  // namespace hlwq::test
