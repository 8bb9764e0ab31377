#include "tests/convert/fixtures.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/float16.h"
#include "io/shards.h"

namespace hlwq {

namespace fs = std::filesystem;

ScratchFolder::ScratchFolder() {
  std::string pattern = testing::TempDir() + "hlwq-convert-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = pattern;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string tiny_model() { return HLWQ_SOURCE_DIR "/models/tiny-nemotron-h"; }

std::map<std::string, std::string> folder_content(const std::string& folder) {
  std::map<std::string, std::string> content;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ostringstream bytes;
    bytes << std::ifstream(entry.path(), std::ios::binary).rdbuf();
    content[entry.path().filename()] = bytes.str();
  }
  return content;
}

void write_plain_checkpoint(const std::string& folder, const std::vector<PlainTensor>& tensors,
                            const std::function<float(const std::string&, int64_t)>& values) {
  fs::create_directories(folder);
  std::vector<TensorEntry> entries;
  for (const PlainTensor& t : tensors) {
    TensorEntry entry;
    entry.name = t.name;
    entry.dtype = t.dtype;
    entry.shape = t.shape;
    entries.push_back(entry);
  }
  auto writer = SafetensorsWriter::create(folder + "/model.safetensors", entries, {});
  ASSERT_TRUE(writer) << writer.error().message;
  for (size_t k = 0; k < tensors.size(); ++k) {
    int64_t count = 1;
    for (const int64_t d : tensors[k].shape) count *= d;
    const auto width = static_cast<size_t>(bytes_of(tensors[k].dtype));
    std::vector<std::byte> bytes(static_cast<size_t>(count) * width);
    for (int64_t i = 0; i < count; ++i) {
      const float v = values(tensors[k].name, i);
      const uint16_t half = tensors[k].dtype == DType::kF16 ? f32_to_f16(v) : f32_to_bf16(v);
      std::memcpy(bytes.data() + static_cast<size_t>(i) * width,
                  width == 4 ? static_cast<const void*>(&v) : static_cast<const void*>(&half),
                  width);
    }
    ASSERT_TRUE(writer->write(k, 0, bytes));
  }
  ASSERT_TRUE(writer->commit());
}

void copy_checkpoint_without(const std::string& from, const std::string& to,
                             const std::string& without) {
  fs::create_directories(to);
  auto shards = ShardSet::open(from);
  ASSERT_TRUE(shards) << shards.error().message;
  std::vector<TensorEntry> entries;
  std::vector<ShardTensor> kept;
  for (const ShardTensor& t : shards->tensors()) {
    if (t.entry->name.find(without) != std::string::npos) continue;
    entries.push_back(*t.entry);
    kept.push_back(t);
  }
  auto writer = SafetensorsWriter::create(to + "/model.safetensors", entries, {});
  ASSERT_TRUE(writer) << writer.error().message;
  for (size_t i = 0; i < kept.size(); ++i) {
    std::vector<std::byte> bytes(kept[i].entry->bytes());
    ASSERT_TRUE(shards->read(kept[i], 0, bytes));
    ASSERT_TRUE(writer->write(i, 0, bytes));
  }
  ASSERT_TRUE(writer->commit());
  for (const auto& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename();
    if (name.ends_with(".json") && !name.ends_with(".index.json"))
      fs::copy_file(entry.path(), to + "/" + name);
  }
}

QuantizeOptions quick_options() {
  QuantizeOptions options;
  options.norms = NormRule::kLeastSquares;
  options.shard_bytes = 2'000'000;
  options.threads = 2;
  return options;
}

}  // namespace hlwq
