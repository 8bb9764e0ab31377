#include "quant/packing.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "tests/quant/goldens.h"
#include "tests/quant/random_weights.h"

namespace hlwq {
namespace {

std::vector<uint8_t> pack(Packing packing, int bits, const std::vector<uint8_t>& codes) {
  std::vector<uint8_t> packed(
      static_cast<size_t>(packed_bytes(packing, bits, static_cast<int64_t>(codes.size()))), 0xcd);
  pack_codes(packing, bits, codes, std::as_writable_bytes(std::span(packed)));
  return packed;
}

std::vector<uint8_t> unpack(Packing packing, int bits, const std::vector<uint8_t>& packed,
                            size_t count) {
  std::vector<uint8_t> codes(count, 0xcd);
  unpack_codes(packing, bits, std::as_bytes(std::span(packed)), codes);
  return codes;
}

TEST(Packing, AgreesWithTheGoldensInEveryByte) {
  const Goldens& goldens = Goldens::get();
  int compared = 0;
  for (const auto& [name, info] : goldens.manifest().at("cases").items()) {
    for (const int bits : info.at("bits").get<std::vector<int>>()) {
      const std::string prefix = "case/" + name + "/b" + std::to_string(bits);
      const auto codes = goldens.tensor<uint8_t>(prefix + "/codes");
      const std::pair<std::string, Packing> kinds[] = {
          {"/packed_nibble_halfblock", Packing::kNibble},
          {"/packed_q5_lsb", Packing::kLsb},
          {"/packed_msb", Packing::kMsb}};
      for (const auto& [suffix, packing] : kinds) {
        if (!goldens.has(prefix + suffix)) continue;
        const auto golden = goldens.tensor<uint8_t>(prefix + suffix);
        EXPECT_EQ(pack(packing, bits, codes), golden) << prefix << suffix;
        EXPECT_EQ(unpack(packing, bits, golden, codes.size()), codes) << prefix << suffix;
        ++compared;
      }
    }
  }
  // Nibbles: 3 widths of gauss, 2 of five cases; L5: six cases; M: six widths of gauss, 4 of
  // tail200.
  EXPECT_EQ(compared, 3 + 10 + 6 + 6 + 4);
}

// The bit positions as documented, one bit at a time.
TEST(Packing, StreamsFollowTheDocumentedBitOrder) {
  for (int bits = 2; bits <= 8; ++bits) {
    const std::vector<uint8_t> codes = random_codes(384, bits, 1);
    const std::vector<uint8_t> little = pack(Packing::kLsb, bits, codes);
    const std::vector<uint8_t> big = pack(Packing::kMsb, bits, codes);
    for (size_t k = 0; k < codes.size(); ++k) {
      unsigned from_little = 0, from_big = 0;
      for (int i = 0; i < bits; ++i) {
        const size_t bit = k * static_cast<size_t>(bits) + static_cast<size_t>(i);
        from_little |= (little[bit / 8] >> (bit % 8) & 1u) << i;
        from_big = from_big << 1 | (big[bit / 8] >> (7 - bit % 8) & 1u);
      }
      ASSERT_EQ(from_little, codes[k]) << bits << " bits, code " << k;
      ASSERT_EQ(from_big, codes[k]) << bits << " bits, code " << k;
    }
    EXPECT_EQ(unpack(Packing::kLsb, bits, little, codes.size()), codes);
    EXPECT_EQ(unpack(Packing::kMsb, bits, big, codes.size()), codes);
  }
}

TEST(Packing, OneByteACodeKeepsEveryByte) {
  const std::vector<uint8_t> codes = random_codes(256, 8, 2);
  EXPECT_EQ(pack(Packing::kI8, 8, codes), codes);
  EXPECT_EQ(unpack(Packing::kI8, 5, codes, codes.size()), codes);
}

TEST(Packing, NothingPacksToNothing) {
  EXPECT_EQ(packed_bytes(Packing::kLsb, 5, 0), 0);
  EXPECT_TRUE(pack(Packing::kMsb, 5, {}).empty());
}

TEST(Packing, BrokenPromisesThrow) {
  EXPECT_THROW((void)packed_bytes(Packing::kLsb, 5, 100), BrokenPromise);
  EXPECT_THROW((void)packed_bytes(Packing::kLsb, 9, 128), BrokenPromise);
  EXPECT_THROW((void)packed_bytes(Packing::kNibble, 5, 128), BrokenPromise);
  std::vector<uint8_t> codes(128);
  std::vector<std::byte> packed(81);
  EXPECT_THROW(pack_codes(Packing::kLsb, 5, codes, packed), BrokenPromise);
  EXPECT_THROW(unpack_codes(Packing::kLsb, 5, packed, codes), BrokenPromise);
}

}  // namespace
}  // namespace hlwq
