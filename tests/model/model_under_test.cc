#include "tests/model/model_under_test.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/backends.h"
#include "tests/ops/far_backend.h"

namespace hlwq::test {

std::vector<std::string> backend_names(std::string_view compute) {
  const std::string ending = "-" + std::string(compute);
  std::vector<std::string> names = {"reference" + ending, "cpu" + ending, "far" + ending};
  static const bool has_gpu = make_cuda_backend({}).has_value();
  if (has_gpu) names.push_back("cuda" + ending);
  return names;
}

TEST(Cuda, Device) {
  const auto backend = make_cuda_backend({});
  if (!backend)
    GTEST_SKIP() << "no CUDA device: GPU tests skipped (" << backend.error().message << ")";
}

std::unique_ptr<Backend> make_backend(std::string_view name) {
  const Compute compute = name.ends_with("-exact") ? Compute::kExact : Compute::kInt8;
  if (name.starts_with("reference-")) return make_reference_backend(compute);
  const BackendOptions options{.threads = 2, .compute = compute};
  Result<std::unique_ptr<Backend>> backend = make_cpu_backend(options);
  if (name.starts_with("cuda-")) backend = make_cuda_backend(options);
  if (!backend) throw std::runtime_error(backend.error().message);
  if (name.starts_with("far-")) return std::make_unique<FarBackend>(*std::move(backend));
  return *std::move(backend);
}

ModelUnderTest ModelUnderTest::load(const std::string& folder, std::string_view backend_name,
                                    const std::string& base) {
  ModelUnderTest m;
  m.backend = make_backend(backend_name);
  LoadOptions options;
  options.base = base;
  options.limits = {.tokens = kTokens, .logit_rows = kTokens, .context = kContext};
  options.load_threads = 2;
  auto model = load_model(folder, *m.backend, options);
  EXPECT_TRUE(model) << model.error().message;
  if (!model) return m;
  m.model = *std::move(model);
  m.make_room();
  return m;
}

void ModelUnderTest::make_room() {
  sequences = std::make_unique<TestSequences>(model->state_shape(), kSlots, kContext);
  auto made = allocate_shared(static_cast<size_t>(kTokens * vocabulary()) * sizeof(float), "test");
  if (!made) throw std::runtime_error(made.error().message);
  logits = *std::move(made);
}

std::vector<float> ModelUnderTest::run(std::span<const int32_t> ids, int64_t position, int64_t slot,
                                       const StepObserver* observer) {
  const Segment segment{.first_token = 0,
                        .tokens = static_cast<int64_t>(ids.size()),
                        .position = position,
                        .slot = slot};
  return run_step(ids, std::span(&segment, 1), observer);
}

std::vector<float> ModelUnderTest::run_step(std::span<const int32_t> ids,
                                            std::span<const Segment> segments,
                                            const StepObserver* observer) {
  std::vector<int64_t> rows(ids.size());
  std::iota(rows.begin(), rows.end(), 0);
  const auto out = logits.as<float>().first(ids.size() * static_cast<size_t>(vocabulary()));
  std::fill(out.begin(), out.end(), std::numeric_limits<float>::quiet_NaN());
  Status status =
      model->forward({.ids = ids, .segments = segments, .logit_rows = rows}, sequences->memory(),
                     dense(out.data(), static_cast<int64_t>(ids.size()), vocabulary()), observer);
  if (status) status = model->check_finite();
  EXPECT_TRUE(status) << status.error().message;
  return {out.begin(), out.end()};
}

namespace {

int32_t argmax_of_last(const ModelUnderTest& m, const std::vector<float>& logits) {
  return argmax(std::span(logits).last(static_cast<size_t>(m.vocabulary())));
}

}  // namespace

std::vector<int32_t> ModelUnderTest::greedy(std::span<const int32_t> prompt, int count) {
  std::vector<int32_t> out = {argmax_of_last(*this, run(prompt))};
  while (static_cast<int>(out.size()) < count) {
    const auto position = static_cast<int64_t>(prompt.size() + out.size() - 1);
    out.push_back(argmax_of_last(*this, run(std::span(&out.back(), 1), position)));
  }
  return out;
}

std::vector<int32_t> ModelUnderTest::greedy_uncached(std::span<const int32_t> prompt, int count) {
  std::vector<int32_t> ids(prompt.begin(), prompt.end());
  for (int i = 0; i < count; ++i) ids.push_back(argmax_of_last(*this, run(ids)));
  return {ids.begin() + static_cast<ptrdiff_t>(prompt.size()), ids.end()};
}

Goldens::Goldens(const std::string& path) {
  auto file = SafetensorsFile::open(path);
  if (!file) throw std::runtime_error(file.error().message);
  file_ = std::make_unique<SafetensorsFile>(*std::move(file));
}

template <typename T>
std::vector<T> Goldens::read(const std::string& name) const {
  const TensorEntry* entry = file_->find(name);
  if (entry == nullptr || entry->bytes() % sizeof(T) != 0)
    throw std::runtime_error("no golden tensor " + name + " of that type");
  std::vector<T> values(entry->bytes() / sizeof(T));
  const Status status = file_->read(*entry, 0, std::as_writable_bytes(std::span(values)));
  if (!status) throw std::runtime_error(status.error().message);
  return values;
}

std::vector<float> Goldens::floats(const std::string& name) const { return read<float>(name); }
std::vector<int32_t> Goldens::ints(const std::string& name) const { return read<int32_t>(name); }
std::vector<double> Goldens::doubles(const std::string& name) const { return read<double>(name); }

double relative_to_max(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double difference = 0, largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!std::isfinite(d)) return std::numeric_limits<double>::infinity();
    difference = std::max(difference, d);
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
  }
  return difference / std::max(largest, 1e-30);
}

int32_t argmax(std::span<const float> values) {
  return static_cast<int32_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

}  // namespace hlwq::test
