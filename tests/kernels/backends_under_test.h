#pragma once
// The back ends every op test runs: a new one joins by being listed in backends_under_test.cc.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "ops/backend.h"
#include "tests/kernels/waiting_backend.h"

namespace hlwq::test {

struct BackendUnderTest {
  std::string name;  // letters, digits and underscores: part of the test's name
  Compute compute = Compute::kInt8;
  std::function<std::unique_ptr<Backend>()> make;
};

inline void PrintTo(const BackendUnderTest& backend, std::ostream* out) { *out << backend.name; }

// Those this machine can run. The reference comes first.
[[nodiscard]] const std::vector<BackendUnderTest>& backends_under_test();
// Those of them that compute with integers.
[[nodiscard]] std::vector<BackendUnderTest> integer_backends();

class BackendTest : public testing::TestWithParam<BackendUnderTest> {
 protected:
  [[nodiscard]] bool integer() const { return GetParam().compute == Compute::kInt8; }
  // The scalar reference and the CPU kernels without SIMD: spared the largest shapes of some tests.
  [[nodiscard]] bool slow() const {
    const std::string& name = GetParam().name;
    return name.starts_with("reference") || name.starts_with("cpu_portable");
  }

  // A fresh back end with scratch for these shapes.
  [[nodiscard]] std::unique_ptr<Backend> make(const ScratchNeeds& needs) const {
    auto backend = std::make_unique<WaitingBackend>(GetParam().make());
    const Status reserved = backend->reserve(needs);
    EXPECT_TRUE(reserved) << reserved.error().message;
    return backend;
  }
};

}  // namespace hlwq::test

#define HLWQ_ON_BACKENDS(suite, backends)                                              \
  INSTANTIATE_TEST_SUITE_P(                                                            \
      On, suite, testing::ValuesIn(backends),                                          \
      [](const testing::TestParamInfo<::hlwq::test::BackendUnderTest>& backend_info) { \
        return backend_info.param.name;                                                \
      })
// Runs a suite derived from BackendTest on every back end, or on those that compute with integers.
#define HLWQ_ON_EVERY_BACKEND(suite) HLWQ_ON_BACKENDS(suite, ::hlwq::test::backends_under_test())
#define HLWQ_ON_INTEGER_BACKENDS(suite) HLWQ_ON_BACKENDS(suite, ::hlwq::test::integer_backends())
