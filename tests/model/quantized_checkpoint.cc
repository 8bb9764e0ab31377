#include "tests/model/quantized_checkpoint.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <span>
#include <stdexcept>

#include "base/float16.h"
#include "io/shards.h"
#include "quant/block.h"
#include "quant/encode.h"
#include "quant/policy.h"

namespace hlwq::test {
namespace {

void require(const Status& status) {
  if (!status) throw std::runtime_error(status.error().message);
}

std::vector<float> widen(const StoredTensor& tensor) {
  std::vector<float> values(tensor.bytes.size() / static_cast<size_t>(bytes_of(tensor.dtype)));
  for (size_t i = 0; i < values.size(); ++i) {
    if (tensor.dtype == DType::kF32) {
      std::memcpy(&values[i], tensor.bytes.data() + 4 * i, 4);
    } else {
      uint16_t bits = 0;
      std::memcpy(&bits, tensor.bytes.data() + 2 * i, 2);
      values[i] = tensor.dtype == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
    }
  }
  return values;
}

template <typename T>
StoredTensor stored(std::string name, DType dtype, std::vector<int64_t> shape,
                    const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {std::move(name), dtype, std::move(shape), {bytes.begin(), bytes.end()}};
}

void append_coded(const StoredTensor& tensor, const Coding& coding, StoredTensors& out) {
  const std::vector<float> weights = widen(tensor);
  const int64_t rows = tensor.shape[0], cols = tensor.shape[1], blocks = blocks_of(cols);
  const Levels& levels = codebook(coding.kind, coding.bits);
  std::vector<uint8_t> codes(static_cast<size_t>(rows * blocks * kBlock));
  std::vector<uint16_t> norms(static_cast<size_t>(rows * blocks));
  const auto distortion = encode_rows(weights, cols, levels, NormRule::kPlain, codes, norms);
  if (!distortion) throw std::runtime_error(distortion.error().message);
  if (coding.decoded) {
    const auto grid = snap_to_grid(levels);
    if (!grid) throw std::runtime_error(grid.error().message);
    Levels snapped;
    for (int k = 0; k < grid->levels(); ++k) snapped.push_back(grid->level(k));
    std::vector<float> decoded(weights.size());
    decode_rows(codes, norms, cols, snapped, decoded);
    out.push_back(stored(tensor.name, DType::kF32, tensor.shape, decoded));
    return;
  }
  const std::string key = tensor.name.substr(0, tensor.name.size() - std::strlen(".weight"));
  out.push_back(stored(key + ".codes", DType::kI8, {rows, blocks * kBlock}, codes));
  out.push_back(stored(key + ".norms", DType::kF16, {rows, blocks}, norms));
  out.push_back(stored(key + ".ct", DType::kF32, {static_cast<int64_t>(levels.size())}, levels));
}

}  // namespace

StoredTensors read_tensors(const std::string& folder) {
  auto shards = ShardSet::open(folder);
  if (!shards) throw std::runtime_error(shards.error().message);
  StoredTensors tensors;
  for (const ShardTensor& t : shards->tensors()) {
    StoredTensor& tensor =
        tensors.emplace_back(StoredTensor{t.entry->name, t.entry->dtype, t.entry->shape, {}});
    tensor.bytes.resize(t.entry->bytes());
    require(shards->read(t, 0, tensor.bytes));
  }
  return tensors;
}

StoredTensor& tensor_named(StoredTensors& tensors, const std::string& name) {
  const auto it = std::find_if(tensors.begin(), tensors.end(),
                               [&](const StoredTensor& t) { return t.name == name; });
  if (it == tensors.end()) throw std::runtime_error("no tensor " + name);
  return *it;
}

StoredTensors code_matrices(const StoredTensors& tensors, const Coding& coding) {
  StoredTensors out;
  for (const StoredTensor& tensor : tensors) {
    if (tensor.shape.size() != 2 || keeps_precision(tensor.name, tensor.shape, {}))
      out.push_back(tensor);
    else
      append_coded(tensor, coding, out);
  }
  return out;
}

TemporaryCheckpoint::TemporaryCheckpoint(
    const StoredTensors& tensors, const std::string& config_folder,
    const std::function<std::string(std::string)>& edit_config) {
  static std::atomic<int> number{0};
  const auto path =
      std::filesystem::temp_directory_path() /
      ("hlwq_model_test_" + std::to_string(getpid()) + "_" + std::to_string(number.fetch_add(1)));
  std::filesystem::create_directories(path);
  folder_ = path.string();
  auto config = read_text_file(config_folder + "/config.json", 1 << 20);
  if (!config) throw std::runtime_error(config.error().message);
  require(write_file(folder_ + "/config.json", edit_config ? edit_config(*config) : *config));
  std::vector<TensorEntry> entries;
  for (const StoredTensor& t : tensors)
    entries.push_back({.name = t.name, .dtype = t.dtype, .shape = t.shape});
  auto writer = SafetensorsWriter::create(folder_ + "/model.safetensors", entries, {});
  if (!writer) throw std::runtime_error(writer.error().message);
  for (size_t i = 0; i < tensors.size(); ++i) require(writer->write(i, 0, tensors[i].bytes));
  require(writer->commit());
}

TemporaryCheckpoint::~TemporaryCheckpoint() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

}  // namespace hlwq::test
