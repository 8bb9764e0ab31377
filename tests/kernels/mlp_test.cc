// relu2 MLPs.

#include "tests/kernels/backends_under_test.h"
#include "tests/kernels/expert_test_support.h"

namespace hlwq::test {
namespace {

using MlpOp = BackendTest;
class IntegerMlp : public BackendTest {};

TEST_P(MlpOp, Coded) {
  Random random(501);
  struct Shape {
    int64_t width, hidden;
  };
  for (const Shape shape : {Shape{256, 160}, {72, 200}, {128, 128}, {200, 1}, {384, 1288}}) {
    const CodedMlp mlp = random_mlp(random, shape.width, shape.hidden);
    const auto backend = make(mlp_needs(33, shape.width, shape.hidden));
    for (const int64_t tokens : {1, 2, 7, 33}) {
      SCOPED_TRACE(testing::Message() << shape.width << " to " << shape.hidden << ", " << tokens);
      TestActivation x(tokens, shape.width, random.normals(tokens * shape.width));
      x.quantize();
      const Rows y(tokens, shape.width);
      if (integer()) {
        backend->mlp({.x = x.view(), .mlp = mlp.mlp(), .y = y.view()});
        EXPECT_TRUE(same_bits(integer_mlp(mlp, x), y.values()));
      } else if (tokens <= 2) {
        backend->mlp({.x = x.floats(), .mlp = mlp.mlp(), .y = y.view()});
        EXPECT_LT(nmse(fp64_mlp(decoded_weights(mlp.up), decoded_weights(mlp.down), x.x.values(),
                                shape.width),
                       y.values()),
                  1e-10);
      }
      EXPECT_FALSE(backend->take_non_finite());
    }
  }
}

TEST_P(MlpOp, BiasesAndAccumulate) {
  Random random(502);
  const int64_t width = 130, hidden = 90, tokens = 5;
  const CodedMlp mlp = random_mlp(random, width, hidden);
  const std::vector<float> up_bias = random.normals(hidden), down_bias = random.normals(width);
  const std::vector<float> old = random.normals(tokens * width);
  const Array<float> up_array(up_bias), down_array(down_bias);
  TestActivation x(tokens, width, random.normals(tokens * width));
  x.quantize();
  const auto backend = make(mlp_needs(tokens, width, hidden));
  const Rows without_down(tokens, width), y(tokens, width, old);
  backend->mlp(
      {.x = x.view(), .mlp = mlp.mlp(), .up_bias = up_array.data(), .y = without_down.view()});
  backend->mlp({.x = x.view(),
                .mlp = mlp.mlp(),
                .up_bias = up_array.data(),
                .down_bias = down_array.data(),
                .y = y.view(),
                .accumulate = true});
  if (integer()) {
    EXPECT_TRUE(same_bits(integer_mlp(mlp, x, &up_bias), without_down.values()));
  }
  std::vector<float> want = without_down.values();
  for (size_t i = 0; i < want.size(); ++i) want[i] = old[i] + (want[i] + down_bias[i % 130]);
  EXPECT_TRUE(same_bits(want, y.values()));
}

TEST_P(MlpOp, Plain) {
  Random random(503);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const PlainMatrix up = random_plain(random, dtype, 70, 150, 0.1);
    const PlainMatrix down = random_plain(random, dtype, 150, 70, 0.1);
    const std::vector<float> x = random.normals(7 * 150);
    const Rows in(7, 150, x), y(7, 150);
    make(mlp_needs(7, 150, 70))
        ->mlp({.x = {in.view(), {}}, .mlp = {up.matrix(), down.matrix()}, .y = y.view()});
    EXPECT_LT(nmse(fp64_mlp(up.values, down.values, x, 150), y.values()), 1e-10);
  }
}

// A hidden layer that overflows must not reach the output as ordinary numbers unnoticed.
TEST_P(IntegerMlp, NonFiniteHiddenLayerSetsTheFlag) {
  Random random(504);
  const CodedMlp mlp = random_mlp(random, 128, 128);
  TestActivation x(2, 128, random.normals(256, 1e30));
  x.quantize();
  const Rows y(2, 128);
  const auto backend = make(mlp_needs(2, 128, 128));
  backend->mlp({.x = x.view(), .mlp = mlp.mlp(), .y = y.view()});
  EXPECT_TRUE(backend->take_non_finite());
  EXPECT_FALSE(backend->take_non_finite());
}

HLWQ_ON_EVERY_BACKEND(MlpOp);
HLWQ_ON_INTEGER_BACKENDS(IntegerMlp);

}  // namespace
}  // namespace hlwq::test
