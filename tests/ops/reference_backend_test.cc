// What is the reference back end's own: its promises to callers. Its numbers are tested with every
// other back end's in tests/kernels.

#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

#include "base/check.h"
#include "ops/backend.h"

namespace hlwq {
namespace {

TEST(ReferenceBackend, SaysWhatItIs) {
  const auto backend = make_reference_backend(Compute::kExact);
  EXPECT_EQ(backend->name(), "reference");
  EXPECT_EQ(backend->compute(), Compute::kExact);
  EXPECT_EQ(backend->threads(), 1);
  EXPECT_FALSE(backend->description().empty());
  EXPECT_EQ(make_reference_backend(Compute::kInt8)->compute(), Compute::kInt8);
}

TEST(ReferenceBackend, AllocatesZeroedHostMemory) {
  const auto backend = make_reference_backend(Compute::kInt8);
  ASSERT_TRUE(backend->reserve({.tokens = 1}));
  const auto buffer = backend->allocate(1000, "weights");
  ASSERT_TRUE(buffer);
  EXPECT_EQ(buffer->device(), Device::kHost);
  for (const std::byte b : buffer->as<std::byte>()) EXPECT_EQ(b, std::byte{0});
}

// Shapes that contradict each other are a bug of the caller, not numbers to compute with.
TEST(ReferenceBackend, ChecksItsCallers) {
  const auto backend = make_reference_backend(Compute::kInt8);
  std::vector<float> x(8, 1.0f), w(6, 1.0f), y(4);
  const Matrix weight{.data = reinterpret_cast<const std::byte*>(w.data()), .rows = 2, .cols = 3};
  const Projection narrow{.weight = weight, .y = dense(y.data(), 2, 2)};
  EXPECT_THROW(backend->project({.x = {dense(x.data(), 2, 4), {}}, .projections = {&narrow, 1}}),
               BrokenPromise);
  const Matrix absent{.rows = 2, .cols = 4};
  const Projection empty{.weight = absent, .y = dense(y.data(), 2, 2)};
  EXPECT_THROW(backend->project({.x = {dense(x.data(), 2, 4), {}}, .projections = {&empty, 1}}),
               BrokenPromise);
  const std::vector<int32_t> ids = {2};
  EXPECT_THROW(backend->embed({.ids = ids, .table = weight, .y = dense(y.data(), 1, 3)}),
               BrokenPromise);
}

}  // namespace
}  // namespace hlwq
