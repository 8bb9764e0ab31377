#include "ops/host_kv.h"

#include <array>
#include <cstring>

#include "base/float16.h"
#include "ops/kv_pages.h"
#include "quant/kv_codec.h"

namespace hlwq {
namespace {

template <int kBits>
void put_codes(const uint8_t* codes, int64_t head_dim, int64_t token, uint32_t* words) {
  for (int64_t unit = 0; unit < head_dim / kKvUnit; ++unit) {
    uint32_t of_unit[kBits] = {};
    for (int i = 0; i < kKvUnit; ++i) kv_place<kBits>(of_unit, i, codes[unit * kKvUnit + i]);
    for (int word = 0; word < kBits; ++word)
      words[kv_word_at(head_dim, word, unit, token)] = of_unit[word];
  }
}

template <int kBits>
void get_levels(const uint32_t* words, int64_t token, float scale, std::span<float> out) {
  const auto head_dim = static_cast<int64_t>(out.size());
  for (int64_t i = 0; i < head_dim; ++i) {
    const int code = kv_code_at<kBits>(static_cast<int>(i % kKvUnit), [&](int word) {
      return words[kv_word_at(head_dim, word, i / kKvUnit, token)];
    });
    out[static_cast<size_t>(i)] = scale * kv_level<kBits>(code);
  }
}

void store_half(const float* values, int64_t count, uint16_t* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = f32_to_f16(kv_limited(values[i]));
}

uint16_t* scale_of(std::byte* section, int bits, int64_t head_dim, int64_t token) {
  return reinterpret_cast<uint16_t*>(section + kv_codes_bytes(bits, head_dim)) + token;
}

}  // namespace

std::byte* kv_section(const KvPages& pages, const AttentionShape& shape, const KvPlace& place) {
  const int32_t page = pages.tables[place.slot * pages.table_stride + place.position / kPageTokens];
  const int64_t keys = kv_section_bytes(pages.key_bits, shape.head_dim);
  const int64_t at = place.half == KvHalf::kKeys
                         ? place.kv_head * keys
                         : shape.kv_heads * keys +
                               place.kv_head * kv_section_bytes(pages.value_bits, shape.head_dim);
  return pages.data + page * pages.page_bytes + at;
}

uint16_t* exact_kv(const KvPages& pages, const AttentionShape& shape, const KvPlace& place) {
  const int64_t page =
      place.slot * pages.ring_pages + place.position / kPageTokens % pages.ring_pages;
  const int64_t head =
      (2 * page + (place.half == KvHalf::kKeys ? 0 : 1)) * shape.kv_heads + place.kv_head;
  return reinterpret_cast<uint16_t*>(pages.ring) +
         (head * kPageTokens + place.position % kPageTokens) * shape.head_dim;
}

void store_coded_kv(const KvPages& pages, const AttentionShape& shape, const KvPlace& place,
                    const float* values) {
  const auto n = static_cast<size_t>(shape.head_dim);
  const int bits = place.half == KvHalf::kKeys ? pages.key_bits : pages.value_bits;
  const int64_t token = place.position % kPageTokens;
  std::byte* const section = kv_section(pages, shape, place);
  if (bits == kPlainKvBits) {
    uint16_t* const row = reinterpret_cast<uint16_t*>(section) + token * shape.head_dim;
    store_half(values, shape.head_dim, row);
    std::memcpy(exact_kv(pages, shape, place), row, n * sizeof(uint16_t));
    return;
  }
  std::array<uint8_t, kMostKvDim> codes;
  *scale_of(section, bits, shape.head_dim, token) =
      encode_kv(bits, {values, n}, std::span(codes).first(n));
  with_kv_bits(bits, [&](auto width) {
    put_codes<width>(codes.data(), shape.head_dim, token, reinterpret_cast<uint32_t*>(section));
  });
  std::array<float, kMostKvDim> rotated;
  std::memcpy(rotated.data(), values, n * sizeof(float));
  rotate_kv(std::span(rotated).first(n));
  store_half(rotated.data(), shape.head_dim, exact_kv(pages, shape, place));
}

void load_coded_kv(const KvPages& pages, const AttentionShape& shape, const KvPlace& place,
                   std::span<float> out) {
  const int bits = place.half == KvHalf::kKeys ? pages.key_bits : pages.value_bits;
  const int64_t token = place.position % kPageTokens;
  std::byte* const section = kv_section(pages, shape, place);
  if (bits == kPlainKvBits) {
    const uint16_t* const row = reinterpret_cast<const uint16_t*>(section) + token * shape.head_dim;
    for (size_t i = 0; i < out.size(); ++i) out[i] = f16_to_f32(row[i]);
    return;
  }
  const float scale = f16_to_f32(*scale_of(section, bits, shape.head_dim, token));
  with_kv_bits(bits, [&](auto width) {
    get_levels<width>(reinterpret_cast<const uint32_t*>(section), token, scale, out);
  });
}

}  // namespace hlwq
