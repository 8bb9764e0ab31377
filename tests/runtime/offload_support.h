#pragma once
// The trained tiny model, coded, with its experts at home in host memory, on a back end behind
// which only copies and events are simulated, or on a GPU.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/sha256.h"
#include "kernels/backends.h"
#include "model/model.h"
#include "runtime/experts/offload_home.h"
#include "runtime/session.h"
#include "tests/model/quantized_checkpoint.h"
#include "tests/ops/far_backend.h"

namespace hlwq::test {

inline constexpr int64_t kOffloadContext = 2100;

inline const std::string& coded_tiny_model() {
  static const std::string plain = std::string(HLWQ_SOURCE_DIR) + "/models/tiny-nemotron-h";
  static const TemporaryCheckpoint checkpoint(code_matrices(read_tensors(plain), {}), plain);
  return checkpoint.folder();
}

// "far-copies" and "far-ops": what runs late there; "cuda". Null without a GPU.
inline std::unique_ptr<Backend> offload_backend(const std::string& name) {
  if (name == "cuda") {
    auto cuda = make_cuda_backend({});
    return cuda ? std::move(*cuda) : nullptr;
  }
  auto far = std::make_unique<FarBackend>(*make_cpu_backend({.threads = 2}));
  far->late_ = name == "far-ops" ? Late::kOps : Late::kCopies;
  return far;
}

inline Result<std::unique_ptr<Model>> load_tiny(
    Backend& backend, ExpertHome* home, int64_t tokens = 512 * 4,
    std::function<void(uint64_t, uint64_t)> progress = {},
    const std::string& folder = coded_tiny_model()) {
  return load_model(folder, backend,
                    {.base = {},
                     .limits = {.tokens = tokens, .logit_rows = tokens, .context = kOffloadContext},
                     .sequence_bytes = {},
                     .home = home,
                     .load_threads = 2,
                     .progress = std::move(progress)});
}

// Words of a made-up text, others for every sequence.
inline std::vector<int32_t> prompt_ids(int64_t sequence, int64_t count) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<int32_t>(random_bits(static_cast<uint64_t>(sequence) + 7, i) % 8192);
  return ids;
}

// SHA-256 of every logit of `sequences` prompts of `tokens` tokens side by side and of `steps`
// greedy tokens after each.
inline std::string run_digest(Backend& backend, Model& model, int64_t tokens, int64_t sequences,
                              int64_t steps) {
  auto session = Session::create(
      backend, model, {.sequences = sequences, .context = kOffloadContext, .prefill_chunk = 512});
  if (!session) throw std::runtime_error(session.error().message);
  const int64_t vocabulary = session->vocabulary();
  auto buffer = session->allocate_logits(sequences);
  if (!buffer) throw std::runtime_error(buffer.error().message);
  const MutF32View logits = dense(buffer->as<float>().data(), sequences, vocabulary);
  std::vector<std::vector<int32_t>> prompts;
  std::vector<SequenceInput> inputs;
  for (int64_t s = 0; s < sequences; ++s) {
    prompts.push_back(prompt_ids(s, tokens));
    inputs.push_back({*session->open(), prompts.back()});
  }
  std::string digests;
  std::vector<float> host(static_cast<size_t>(sequences * vocabulary));
  const auto add = [&] {
    backend.download(host.data(), logits.data, host.size() * sizeof(float));
    digests += sha256_hex(std::as_bytes(std::span(host)));
  };
  const auto must = [](const Status& status) {
    if (!status) throw std::runtime_error(status.error().message);
  };
  must(session->prefill(inputs, logits));
  add();
  const std::vector<SampleRow> greedy(inputs.size());
  std::vector<int32_t> next(inputs.size());
  must(session->sample(logits, greedy, next));
  for (int64_t step = 0; step < steps; ++step) {
    for (size_t s = 0; s < inputs.size(); ++s) inputs[s].ids = {&next[s], 1};
    must(session->decode(inputs, greedy, logits, next));
    add();
  }
  return sha256_hex(std::as_bytes(std::span(digests)));
}

}  // namespace hlwq::test
