#include "format/sniff.h"

#include <vector>

#include "base/check.h"
#include "quant/block.h"
#include "quant/codebook.h"

namespace hlwq {

StreamLikelihood stream_likelihood(std::span<const std::byte> packed,
                                   std::span<const float> levels) {
  constexpr int kBits = 5;
  constexpr size_t kBlockBytes = kBlock * kBits / 8;
  HLWQ_CHECK(!packed.empty() && packed.size() % kBlockBytes == 0 && levels.size() == 1 << kBits);
  const std::vector<double> log_mass = log_cell_mass(levels);
  std::vector<uint8_t> codes(packed.size() / kBlockBytes * kBlock);
  const auto mean = [&](Packing packing) {
    unpack_codes(packing, kBits, packed, codes);
    double sum = 0;
    for (const uint8_t code : codes) sum += log_mass[code];
    return sum / static_cast<double>(codes.size());
  };
  return {.lsb = mean(Packing::kLsb), .msb = mean(Packing::kMsb)};
}

}  // namespace hlwq
