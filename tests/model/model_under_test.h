#pragma once
// A loaded model with sequences, and golden tensors to hold it against.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/safetensors.h"
#include "model/model.h"
#include "tests/model/test_sequences.h"

namespace hlwq::test {

// "reference-exact" and "cpu-exact", or "...-int8"; "far-..." is the CPU behind memory that only
// its ops may touch; "cuda-..." where there is a GPU.
[[nodiscard]] std::vector<std::string> backend_names(std::string_view compute);
[[nodiscard]] std::unique_ptr<Backend> make_backend(std::string_view name);

struct ModelUnderTest {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Model> model;
  std::unique_ptr<TestSequences> sequences;
  Buffer logits;  // [kTokens, vocabulary], for every back end

  static constexpr int64_t kSlots = 3, kContext = 600, kTokens = 512;

  // Fails the test when the model does not load.
  [[nodiscard]] static ModelUnderTest load(const std::string& folder, std::string_view backend_name,
                                           const std::string& base = "");

  // With sequences and logits for a model that is there.
  void make_room();

  // Logits of all tokens, [ids.size(), vocabulary], of one segment.
  [[nodiscard]] std::vector<float> run(std::span<const int32_t> ids, int64_t position = 0,
                                       int64_t slot = 0, const StepObserver* observer = nullptr);
  // Logits of all tokens of a step of several segments.
  [[nodiscard]] std::vector<float> run_step(std::span<const int32_t> ids,
                                            std::span<const Segment> segments,
                                            const StepObserver* observer = nullptr);
  // `count` greedy tokens after the prompt, one step a token.
  [[nodiscard]] std::vector<int32_t> greedy(std::span<const int32_t> prompt, int count);
  // The same, every token from a whole new pass over prompt and answer.
  [[nodiscard]] std::vector<int32_t> greedy_uncached(std::span<const int32_t> prompt, int count);

  [[nodiscard]] int64_t vocabulary() const { return model->config().vocabulary; }
};

class Goldens {
 public:
  explicit Goldens(const std::string& path);
  [[nodiscard]] bool has(const std::string& name) const { return file_->find(name) != nullptr; }
  [[nodiscard]] std::vector<float> floats(const std::string& name) const;
  [[nodiscard]] std::vector<int32_t> ints(const std::string& name) const;
  [[nodiscard]] std::vector<double> doubles(const std::string& name) const;

 private:
  template <typename T>
  [[nodiscard]] std::vector<T> read(const std::string& name) const;
  std::unique_ptr<SafetensorsFile> file_;
};

// max |a - b| / max |b|; infinity for NaN or different lengths.
[[nodiscard]] double relative_to_max(std::span<const float> a, std::span<const float> b);
[[nodiscard]] int32_t argmax(std::span<const float> values);

}  // namespace hlwq::test
