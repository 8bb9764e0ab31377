#include "tests/model/llama_checkpoint.h"

#include <cmath>
#include <span>
#include <stdexcept>

#include "base/random.h"
#include "model/tensor_names.h"

namespace hlwq::test {
namespace {

// FNV-1a.
uint64_t seed_of(const std::string& name) {
  uint64_t seed = 0xcbf29ce484222325u;
  for (const char c : name) seed = (seed ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return seed;
}

float uniform(uint64_t seed, uint64_t counter) {
  return static_cast<float>(static_cast<double>(random_bits(seed, counter) >> 40) * 0x1p-23 - 1.0);
}

float weight(const ExpectedTensor& tensor, uint64_t seed, uint64_t i) {
  const float u = uniform(seed, i);
  if (tensor.name.ends_with("norm.weight")) return 1.0f + 0.25f * u;
  if (tensor.name.ends_with("bias")) return 0.25f * u;
  if (tensor.name.ends_with("embed_tokens.weight")) return 2.0f * u;
  return u * (2.0f / std::sqrt(static_cast<float>(tensor.shape.back())));
}

}  // namespace

std::string llama_folder(const std::string& model) {
  return std::string(HLWQ_TEST_DATA) + "/llama_goldens/" + model;
}

StoredTensors llama_tensors(const std::string& model) {
  const auto config = read_model_config(llama_folder(model));
  if (!config) throw std::runtime_error(config.error().message);
  StoredTensors tensors;
  for (const ExpectedTensor& expected : expected_tensors(*config)) {
    size_t count = 1;
    for (const int64_t dimension : expected.shape) count *= static_cast<size_t>(dimension);
    std::vector<float> values(count);
    const uint64_t seed = seed_of(expected.name);
    for (size_t i = 0; i < count; ++i) values[i] = weight(expected, seed, i);
    const auto bytes = std::as_bytes(std::span(values));
    tensors.push_back({expected.name, DType::kF32, expected.shape, {bytes.begin(), bytes.end()}});
  }
  return tensors;
}

}  // namespace hlwq::test
