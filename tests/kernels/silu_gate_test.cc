// The hidden layer of gated MLPs.

#include <cmath>
#include <limits>

#include "tests/kernels/backends_under_test.h"
#include "tests/kernels/op_test_support.h"

namespace hlwq::test {
namespace {

using SiluGate = BackendTest;

std::vector<double> expected(const std::vector<float>& gate, const std::vector<float>& up) {
  std::vector<double> out(gate.size());
  for (size_t i = 0; i < gate.size(); ++i)
    out[i] = gate[i] / (1.0 + std::exp(-static_cast<double>(gate[i]))) * up[i];
  return out;
}

TEST_P(SiluGate, MatchesFp64AndQuantizesWhatItWrote) {
  Random random(811);
  for (const int64_t width : {1, 7, 72, 128, 129, 576, 1536}) {
    for (const RowStart start : kRowStarts) {
      const auto backend = make({.tokens = 33, .width = width});
      for (const int64_t tokens : {1, 2, 7, 33}) {
        SCOPED_TRACE(testing::Message() << tokens << " x " << width);
        const std::vector<float> gate = random.normals(tokens * width, 3.0);
        const std::vector<float> up = random.normals(tokens * width, 2.0);
        const Rows gate_rows(tokens, width, gate, start), up_rows(tokens, width, up, start);
        const TestActivation out(tokens, width, start);
        backend->silu_gate({.gate = gate_rows.view(), .up = up_rows.view(), .out = out.view()});
        // An exponential within 2 ulp, a division and two products: 4e-7 of each value.
        EXPECT_LT(nmse(expected(gate, up), out.x.values()), 1e-12);
        EXPECT_TRUE(out.x.gaps_untouched());
        out.expect_quantized();
        EXPECT_FALSE(backend->take_non_finite());
      }
    }
  }
}

// Where e^-g overflows or vanishes, and at zero.
TEST_P(SiluGate, FarFromZero) {
  const std::vector<float> gate = {-1e30f, -200.0f, -90.0f, -20.0f, 0.0f,
                                   -0.0f,  20.0f,   90.0f,  200.0f, 1e30f};
  const std::vector<float> up(gate.size(), 0.5f);
  const Rows gate_rows(1, 10, gate), up_rows(1, 10, up), out(1, 10);
  make({.tokens = 1, .width = 10})
      ->silu_gate({.gate = gate_rows.view(), .up = up_rows.view(), .out = {out.view(), {}}});
  const std::vector<double> want = expected(gate, up);
  for (size_t i = 0; i < gate.size(); ++i)
    EXPECT_NEAR(out.row(0)[i], want[i], 1e-6 * std::abs(want[i]) + 1e-35) << gate[i];
}

TEST_P(SiluGate, InPlaceAndWithoutQuantizedRows) {
  Random random(812);
  const std::vector<float> gate = random.normals(3 * 200), up = random.normals(3 * 200);
  const Rows apart_gate(3, 200, gate), apart_up(3, 200, up), apart(3, 200);
  const auto backend = make({.tokens = 3, .width = 200});
  backend->silu_gate({.gate = apart_gate.view(), .up = apart_up.view(), .out = {apart.view(), {}}});
  const Rows over_gate(3, 200, gate), over_up(3, 200, up);
  backend->silu_gate(
      {.gate = over_gate.view(), .up = apart_up.view(), .out = {over_gate.view(), {}}});
  backend->silu_gate(
      {.gate = apart_gate.view(), .up = over_up.view(), .out = {over_up.view(), {}}});
  EXPECT_TRUE(same_bits(apart.values(), over_gate.values()));
  EXPECT_TRUE(same_bits(apart.values(), over_up.values()));
}

// Nor does it matter where rows start.
TEST_P(SiluGate, TokensDoNotSeeEachOther) {
  Random random(813);
  const std::vector<float> gate = random.normals(33 * 333), up = random.normals(33 * 333);
  const Rows gate_rows(33, 333, gate), up_rows(33, 333, up);
  const auto backend = make({.tokens = 33, .width = 333});
  const TestActivation all(33, 333);
  backend->silu_gate({.gate = gate_rows.view(), .up = up_rows.view(), .out = all.view()});
  const Rows moved_gate(33, 333, gate, RowStart::kAligned);
  const Rows moved_up(33, 333, up, RowStart::kAligned);
  for (int64_t t = 0; t < 33; ++t) {
    const TestActivation one(1, 333);
    backend->silu_gate(
        {.gate = moved_gate.row_view(t), .up = moved_up.row_view(t), .out = one.view()});
    EXPECT_TRUE(same_bits(one.x.row_values(0), all.x.row_values(t))) << "token " << t;
  }
}

TEST_P(SiluGate, NonFiniteSetsTheFlag) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e30f}) {
    const std::vector<float> values(200, bad);  // 1e30 squared is too large
    const Rows gate(1, 200, values), up(1, 200, values);
    const TestActivation out(1, 200);
    const auto backend = make({.tokens = 1, .width = 200});
    backend->silu_gate({.gate = gate.view(), .up = up.view(), .out = out.view()});
    EXPECT_TRUE(backend->take_non_finite()) << bad;
    EXPECT_FALSE(backend->take_non_finite()) << bad;
  }
}

HLWQ_ON_EVERY_BACKEND(SiluGate);

}  // namespace
}  // namespace hlwq::test
