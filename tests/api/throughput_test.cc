#include "api/throughput.h"

#include <gtest/gtest.h>

namespace hlwq {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Throughput, IsThatOfTheLastSeconds) {
  Throughput throughput;
  const Throughput::Clock::time_point start{seconds(1000)};
  EXPECT_EQ(throughput.rates(start).decode_tok_s, 0);
  // 100 tokens a second for 10 seconds, in steps of 10 ms.
  for (int i = 0; i <= 1000; ++i) throughput.add(5 * i, i, start + milliseconds(10 * i));
  const Rates going = throughput.rates(start + seconds(10));
  EXPECT_NEAR(going.decode_tok_s, 100, 3);
  EXPECT_NEAR(going.prompt_tok_s, 500, 15);
  EXPECT_LT(throughput.rates(start + seconds(12)).decode_tok_s, 50);
  EXPECT_EQ(throughput.rates(start + seconds(20)).decode_tok_s, 0);
  // A burst after a pause counts as what it is.
  throughput.add(5000, 1300, start + seconds(30));
  EXPECT_NEAR(throughput.rates(start + seconds(30)).decode_tok_s, 100, 1);
}

}  // namespace
}  // namespace hlwq
