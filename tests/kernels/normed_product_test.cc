// Products that norm their input first: the same bits as a norm and then the product, whether a
// back end does both at once or not.

#include <array>
#include <limits>

#include "tests/kernels/backends_under_test.h"
#include "tests/kernels/op_test_support.h"

namespace hlwq::test {
namespace {

using NormedProduct = BackendTest;
class IntegerNormedProduct : public BackendTest {};

struct Case {
  int64_t width, rows, more_rows;
};

TEST_P(NormedProduct, SameBitsAsOneAfterTheOther) {
  Random random(701);
  // One block, a short last chunk of 1, 2 and 3 blocks, whole chunks, fewer and more blocks than a
  // thread block has warps.
  for (const Case shape : {Case{72, 40, 8},
                           {256, 33, 200},
                           {328, 16, 1},
                           {512, 24, 24},
                           {1856, 100, 12},
                           {2688, 72, 304},
                           {4096, 48, 16},
                           {5248, 20, 9}}) {
    const std::array<CodedMatrix, 2> w = {
        random_coded(random, symmetric_grid(5), CodeLayout::kTiled5, shape.rows, shape.width),
        random_coded(random, symmetric_grid(5), CodeLayout::kTiled5, shape.more_rows, shape.width)};
    const PlainMatrix plain = random_plain(random, DType::kBF16, 5, shape.width, 0.05);
    const Array<float> weight(random.normals(shape.width, 0.3, 1.0));
    const auto backend = make({.tokens = 17, .width = shape.width});
    for (const int64_t tokens : {1, 2, 5, 17}) {
      for (const bool with_plain : {false, true}) {
        SCOPED_TRACE(testing::Message() << shape.width << " wide, " << tokens << " tokens"
                                        << (with_plain ? ", and a plain matrix" : ""));
        const Rows x(tokens, shape.width, random.normals(tokens * shape.width, 2.0));
        std::array<std::vector<float>, 3> wanted;
        for (const bool fused : {false, true}) {
          const TestActivation u(tokens, shape.width);
          const Activation view = integer() ? u.view() : u.floats();
          const std::array y = {Rows(tokens, shape.rows), Rows(tokens, shape.more_rows),
                                Rows(tokens, plain.rows)};
          // One grid for both, as the loader gives matrices with the same table: together they are
          // one launch.
          Matrix second = w[1].matrix();
          second.grid = &w[0].grid;
          std::vector<Projection> projections = {{.weight = w[0].matrix(), .y = y[0].view()},
                                                 {.weight = second, .y = y[1].view()}};
          if (with_plain) projections.push_back({.weight = plain.matrix(), .y = y[2].view()});
          const ::hlwq::Norm norm{.x = x.view(), .weight = weight.data(), .eps = 1e-5f};
          if (fused) {
            backend->project({.x = view, .projections = projections, .norm = norm});
          } else {
            backend->rms_norm({.x = norm.x, .weight = norm.weight, .eps = norm.eps, .out = view});
            backend->project({.x = view, .projections = projections});
          }
          for (size_t i = 0; i < projections.size(); ++i) {
            EXPECT_TRUE(y[i].gaps_untouched());
            if (!fused) {
              wanted[i] = y[i].values();
            } else {
              EXPECT_TRUE(same_bits(wanted[i], y[i].values())) << "matrix " << i;
            }
          }
        }
      }
    }
    EXPECT_FALSE(backend->take_non_finite());
  }
}

TEST_P(IntegerNormedProduct, NonFiniteSetsTheFlag) {
  Random random(702);
  const CodedMatrix w = random_coded(random, symmetric_grid(5), CodeLayout::kTiled5, 16, 2688);
  const Array<float> weight(random.normals(2688, 0.3, 1.0));
  const auto backend = make({.tokens = 1, .width = 2688});
  const Rows x(1, 2688, random.normals(2688)), y(1, 16);
  x.row(0)[2600] = std::numeric_limits<float>::infinity();
  const TestActivation u(1, 2688);
  const std::array projection = {Projection{.weight = w.matrix(), .y = y.view()}};
  backend->project({.x = u.view(),
                    .projections = projection,
                    .norm = ::hlwq::Norm{.x = x.view(), .weight = weight.data(), .eps = 1e-5f}});
  EXPECT_TRUE(backend->take_non_finite());
}

HLWQ_ON_EVERY_BACKEND(NormedProduct);
HLWQ_ON_INTEGER_BACKENDS(IntegerNormedProduct);

}  // namespace
}  // namespace hlwq::test
