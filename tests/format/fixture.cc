#include "tests/format/fixture.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/float16.h"
#include "base/random.h"
#include "io/safetensors.h"

namespace hlwq::test {
namespace {

namespace fs = std::filesystem;

const SafetensorsFile& goldens() {
  static const Result<SafetensorsFile> file =
      SafetensorsFile::open(HLWQ_TEST_DATA "/hlwq_goldens/hlwq_goldens.safetensors");
  EXPECT_TRUE(file.has_value()) << (file ? "" : file.error().message);
  return *file;
}

StoredTensor load(const TensorEntry& entry, size_t skip) {
  StoredTensor tensor{entry.name.substr(skip), entry.dtype, entry.shape, {}};
  tensor.bytes.resize(entry.bytes());
  const Status status = goldens().read(entry, 0, tensor.bytes);
  EXPECT_TRUE(status.has_value()) << (status ? "" : status.error().message);
  return tensor;
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string name = (fs::temp_directory_path() / "hlwq_format_XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "mkdtemp " << name;
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string TemporaryFolder::file(std::string_view name) const {
  const fs::path full = fs::path(path_) / name;
  fs::create_directories(full.parent_path());
  return full.string();
}

void write_tensors(const std::string& path, const std::vector<StoredTensor>& tensors) {
  std::vector<TensorEntry> entries;
  for (const StoredTensor& tensor : tensors)
    entries.push_back({.name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape});
  auto writer = SafetensorsWriter::create(path, entries, {});
  ASSERT_TRUE(writer.has_value()) << writer.error().message;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Status status = writer->write(i, 0, tensors[i].bytes);
    ASSERT_TRUE(status.has_value()) << status.error().message;
  }
  const Status status = writer->commit();
  ASSERT_TRUE(status.has_value()) << status.error().message;
}

void write_text(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::vector<std::byte> read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  const std::vector<char> chars((std::istreambuf_iterator<char>(file)), {});
  const auto bytes = std::as_bytes(std::span(chars));
  return {bytes.begin(), bytes.end()};
}

StoredTensor golden(std::string_view name) {
  const TensorEntry* entry = goldens().find(name);
  if (entry == nullptr) {
    ADD_FAILURE() << "no golden tensor " << name;
    return {};
  }
  return load(*entry, 0);
}

std::vector<StoredTensor> golden_group(std::string_view prefix) {
  std::vector<StoredTensor> group;
  for (const TensorEntry& entry : goldens().tensors()) {
    if (entry.name.starts_with(prefix)) group.push_back(load(entry, prefix.size()));
  }
  return group;
}

std::vector<uint8_t> pack_bits(const std::vector<uint8_t>& codes, int bits, bool msb_first) {
  std::vector<uint8_t> packed(codes.size() * static_cast<size_t>(bits) / 8);
  for (size_t k = 0; k < codes.size(); ++k) {
    for (int j = 0; j < bits; ++j) {
      const size_t at = k * static_cast<size_t>(bits) + static_cast<size_t>(j);
      const int bit = codes[k] >> (msb_first ? bits - 1 - j : j) & 1;
      packed[at / 8] |= static_cast<uint8_t>(bit << (msb_first ? 7 - at % 8 : at % 8));
    }
  }
  return packed;
}

std::vector<uint8_t> pack_nibbles(const std::vector<uint8_t>& codes) {
  std::vector<uint8_t> packed;
  for (size_t block = 0; block < codes.size(); block += 128) {
    for (size_t m = block; m < block + 64; ++m)
      packed.push_back(static_cast<uint8_t>(codes[m] + 16 * codes[m + 64]));
  }
  return packed;
}

std::vector<uint8_t> random_codes(size_t count, std::span<const float> levels, uint64_t seed) {
  std::vector<uint8_t> codes;
  for (size_t i = 0; i < count; ++i) {
    // Box-Muller, then the nearest level.
    const double radius = std::sqrt(-2 * std::log(random_uniform(seed, 2 * i)));
    const double z = radius * std::cos(6.283185307179586 * random_uniform(seed, 2 * i + 1));
    size_t best = 0;
    for (size_t k = 1; k < levels.size(); ++k) {
      if (std::abs(z - levels[k]) < std::abs(z - levels[best])) best = k;
    }
    codes.push_back(static_cast<uint8_t>(best));
  }
  return codes;
}

std::vector<uint16_t> random_norms(size_t count, uint64_t seed) {
  std::vector<uint16_t> norms;
  for (size_t i = 0; i < count; ++i)
    norms.push_back(static_cast<uint16_t>(0x3800 + random_bits(seed, i) % 0x800));
  return norms;
}

std::vector<double> decode_blocks(const std::vector<uint8_t>& codes,
                                  const std::vector<uint16_t>& norms,
                                  std::span<const float> levels) {
  std::vector<double> values(codes.size());
  for (size_t i = 0; i < codes.size(); ++i) {
    const size_t block = i / 128 * 128;
    double sum = 0;
    for (size_t n = 0; n < 128; ++n) {
      const double sign = std::popcount((i % 128) & n) % 2 == 0 ? 1 : -1;
      sum += sign * static_cast<double>(levels[codes[block + n]]);
    }
    values[i] = static_cast<double>(f16_to_f32(norms[i / 128])) * sum / 128;
  }
  return values;
}

}  // namespace hlwq::test
