#include "tests/kernels/backends_under_test.h"

#include "kernels/backends.h"

namespace hlwq::test {
namespace {

void add_cpu(std::vector<BackendUnderTest>& list, std::string_view isa, int threads,
             Compute compute) {
  const BackendOptions options{.threads = threads, .compute = compute, .isa = isa};
  if (!make_cpu_backend(options)) return;  // not on this machine
  list.push_back({"cpu_" + std::string(isa) + "_" + std::to_string(threads) +
                      (compute == Compute::kInt8 ? "" : "_exact"),
                  compute, [options] { return std::move(*make_cpu_backend(options)); }});
}

void add_cuda(std::vector<BackendUnderTest>& list, const std::string& name, Compute compute) {
  static const bool has_gpu = make_cuda_backend({}).has_value();
  if (!has_gpu) return;  // see Cuda.Device
  const BackendOptions options{.compute = compute};
  list.push_back({name, compute, [options] { return std::move(*make_cuda_backend(options)); }});
}

std::vector<BackendUnderTest> list_backends() {
  std::vector<BackendUnderTest> list;
  list.push_back(
      {"reference", Compute::kInt8, [] { return make_reference_backend(Compute::kInt8); }});
  list.push_back(
      {"reference_exact", Compute::kExact, [] { return make_reference_backend(Compute::kExact); }});
  for (const std::string_view isa : {"portable", "avx2", "avx512", "amx"}) {
    add_cpu(list, isa, 1, Compute::kInt8);
    add_cpu(list, isa, 2, Compute::kInt8);
    add_cpu(list, isa, 2, Compute::kExact);
  }
  add_cuda(list, "cuda", Compute::kInt8);
  add_cuda(list, "cuda_exact", Compute::kExact);
  return list;
}

TEST(Amx, Processor) {
  const auto backend = make_cpu_backend({.isa = "amx"});
  if (!backend)
    GTEST_SKIP() << "no AMX: its kernels are not tested (" << backend.error().message << ")";
  EXPECT_NE((*backend)->description().find("amx kernels"), std::string::npos);
}

TEST(Cuda, Device) {
  const auto backend = make_cuda_backend({});
  if (!backend)
    GTEST_SKIP() << "no CUDA device: GPU tests skipped (" << backend.error().message << ")";
  EXPECT_EQ((*backend)->name(), "cuda");
  EXPECT_EQ((*backend)->device(), Device::kCuda);
}

}  // namespace

const std::vector<BackendUnderTest>& backends_under_test() {
  static const std::vector<BackendUnderTest> list = list_backends();
  return list;
}

std::vector<BackendUnderTest> integer_backends() {
  std::vector<BackendUnderTest> list;
  for (const BackendUnderTest& backend : backends_under_test()) {
    if (backend.compute == Compute::kInt8) list.push_back(backend);
  }
  return list;
}

}  // namespace hlwq::test
