#include "hlwq/options.h"

#include <gtest/gtest.h>

#include <limits>
#include <new>
#include <set>

#include "api/check_options.h"
#include "api/guard.h"

namespace hlwq {
namespace {

template <typename Options>
std::string message_of(const Options& options) {
  const Status status = check_options(options);
  return status ? "" : status.error().message;
}

TEST(Options, DefaultsAreInRange) {
  EXPECT_EQ(message_of(EngineOptions{}), "");
  EXPECT_EQ(message_of(SamplingOptions{}), "");
}

TEST(Options, NamesAreUniqueAndExplained) {
  std::set<std::string> names;
  const auto visitor = [&](const OptionField& field, const auto&) {
    EXPECT_TRUE(names.insert(field.name).second) << field.name;
    EXPECT_STRNE(field.help, "");
  };
  EngineOptions{}.visit(visitor);
  SamplingOptions{}.visit(visitor);
  for (const char* promised : {"device", "threads", "vram", "moe-expert-cache-size", "cache-policy",
                               "cpu-experts", "kv-cache-nbits", "context", "compute", "base",
                               "temperature", "top-p", "top-k", "min-p", "seed", "repeat-penalty"})
    EXPECT_TRUE(names.contains(promised)) << promised;
}

TEST(Options, OutOfRangeNamesTheFlag) {
  EngineOptions engine;
  engine.device = "tpu";
  EXPECT_EQ(message_of(engine), "--device: got 'tpu', wanted one of auto, cpu, cuda, reference");
  engine = {};
  engine.threads = -1;
  EXPECT_EQ(message_of(engine), "--threads: got -1, wanted 0 to 1024");
  engine = {};
  engine.context = std::numeric_limits<int64_t>::max();
  EXPECT_NE(message_of(engine).find("--context"), std::string::npos);
  SamplingOptions sampling;
  sampling.top_p = 1.5;
  EXPECT_EQ(message_of(sampling), "--top-p: got 1.5, wanted 0 to 1");
  sampling.top_p = std::numeric_limits<double>::quiet_NaN();
  EXPECT_NE(message_of(sampling), "");
  sampling = {.temperature = -0.1};
  EXPECT_NE(message_of(sampling).find("--temperature"), std::string::npos);
}

TEST(Guard, ExceptionsBecomeErrors) {
  const auto code = [](auto fn) {
    return guarded([&]() -> Status {
      fn();
      return {};
    });
  };
  EXPECT_TRUE(code([] {}));
  EXPECT_EQ(code([] { throw std::bad_alloc(); }).error().code, ErrorCode::kOutOfMemory);
  const Status broken = code([] { HLWQ_CHECK(1 + 1 == 3); });
  EXPECT_EQ(broken.error().code, ErrorCode::kInternal);
  EXPECT_NE(broken.error().message.find("1 + 1 == 3"), std::string::npos);
  EXPECT_EQ(code([] { throw 7; }).error().code, ErrorCode::kInternal);
}

}  // namespace
}  // namespace hlwq
