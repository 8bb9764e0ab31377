// Many requests on the small model that ships, against each alone.

#include "hlwq/service.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/random.h"

namespace hlwq {
namespace {

const std::string kModel = std::string(HLWQ_SOURCE_DIR) + "/models/tiny-nemotron-h";

Service open_tiny(const ServiceOptions& options, const EngineOptions& engine = {}) {
  auto service = Service::open(kModel, engine, options);
  if (!service) throw std::runtime_error(service.error().message);
  return std::move(*service);
}

// Results by number, from the service's thread.
class Results {
 public:
  std::function<void(Result<GenerateResult>)> slot(int number) {
    return [this, number](Result<GenerateResult> result) {
      const std::lock_guard lock(mutex_);
      EXPECT_TRUE(results_.emplace(number, std::move(result)).second) << "ended twice";
      changed_.notify_all();
    };
  }
  Result<GenerateResult> wait(int number) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return results_.contains(number); });
    return results_.at(number);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, Result<GenerateResult>> results_;
};

Result<GenerateResult> ask(Service& service, ServiceRequest request) {
  Results results;
  request.on_end = results.slot(0);
  const auto ticket = service.submit(std::move(request));
  if (!ticket) return tl::unexpected(ticket.error());
  return results.wait(0);
}

std::vector<int32_t> prompt_of(size_t tokens, uint64_t seed) {
  std::vector<int32_t> ids(tokens);
  for (size_t i = 0; i < tokens; ++i)
    ids[i] = static_cast<int32_t>(100 + random_bits(seed, i) % 8000);
  return ids;
}

ServiceRequest greedy(std::vector<int32_t> ids, int64_t tokens) {
  return {.ids = std::move(ids),
          .max_tokens = tokens,
          .sampling = {.temperature = 0.0},
          .ignore_stop_ids = true};
}

TEST(Service, AnAnswerIsTheSameAloneAndAmongThirtyOneOthers) {
  std::map<int, std::vector<int32_t>> alone;
  const auto request = [](int i) {
    const auto seed = static_cast<uint64_t>(i);
    return greedy(prompt_of(1 + random_bits(3, seed) % 300, seed), 10 + i % 20);
  };
  {
    Service service = open_tiny({.max_batch = 1, .prefix_cache = "0"}, {.threads = 2});
    for (int i = 0; i < 32; ++i) alone[i] = ask(service, request(i))->ids;
  }
  Service service = open_tiny({.max_batch = 32}, {.threads = 2, .prefill_chunk = 64});
  Results results;
  for (int i = 0; i < 32; ++i) {
    ServiceRequest one = request(i);
    one.on_end = results.slot(i);
    ASSERT_TRUE(service.submit(std::move(one)));
  }
  for (int i = 0; i < 32; ++i) EXPECT_EQ(results.wait(i)->ids, alone[i]) << i;
}

TEST(Service, ThePrefixCacheChangesNoBits) {
  Service cold = open_tiny({.max_batch = 2, .prefix_cache = "0"});
  Service warm = open_tiny({.max_batch = 2, .prefix_cache = "64MiB"});
  const auto first = prompt_of(300, 1);
  std::vector<int32_t> second = first;
  const auto expected = ask(cold, greedy(first, 40));
  const auto got = ask(warm, greedy(first, 40));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->ids, expected->ids);
  second.insert(second.end(), expected->ids.begin(), expected->ids.end());
  const auto more = prompt_of(50, 2);
  second.insert(second.end(), more.begin(), more.end());
  const auto next = ask(warm, greedy(second, 40));
  ASSERT_TRUE(next);
  EXPECT_EQ(next->cached_tokens, 339);  // the last token of an answer is not computed
  EXPECT_EQ(next->ids, ask(cold, greedy(second, 40))->ids);
  EXPECT_EQ(warm.stats().prefix_hits, 1);
}

TEST(Service, AnswersKeepToASchema) {
  Service service = open_tiny({.max_batch = 4});
  const std::string schema = R"({"type": "object", "additionalProperties": false,
      "required": ["name", "kind", "size"], "properties": {
        "name": {"type": "string", "maxLength": 12},
        "kind": {"enum": ["ship", "city"]},
        "size": {"type": "integer", "minimum": 1, "maximum": 99}}})";
  for (int64_t seed = 0; seed < 8; ++seed) {
    ServiceRequest request = {.ids = prompt_of(20, static_cast<uint64_t>(seed)),
                              .max_tokens = 200,
                              .sampling = {.temperature = 1.0, .seed = seed}};
    request.format = {.kind = OutputFormat::Kind::kJsonSchema, .schema = schema};
    const auto result = ask(service, std::move(request));
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->finish_reason, "stop");
    const auto json = nlohmann::json::parse(result->text, nullptr, false);
    ASSERT_TRUE(json.is_object()) << result->text;
    EXPECT_TRUE(json["kind"] == "ship" || json["kind"] == "city");
    EXPECT_GE(json["size"].get<int>(), 1);
    EXPECT_LE(json["size"].get<int>(), 99);
  }
}

TEST(Service, RefusesWhatItCannotDo) {
  Service service = open_tiny({.max_batch = 1}, {.context = 64});
  const auto code = [&](ServiceRequest request) {
    const auto ticket = service.submit(std::move(request));
    EXPECT_FALSE(ticket);
    return ticket ? ErrorCode::kInternal : ticket.error().code;
  };
  EXPECT_EQ(code(greedy({}, 5)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(greedy(prompt_of(65, 1), 5)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(greedy(prompt_of(5, 1), -5)), ErrorCode::kInvalidArgument);
  ServiceRequest request = greedy(prompt_of(5, 1), 5);
  request.sampling.temperature = -1;
  EXPECT_EQ(code(request), ErrorCode::kInvalidArgument);
  request = greedy(prompt_of(5, 1), 5);
  request.stop = {""};
  EXPECT_EQ(code(request), ErrorCode::kInvalidArgument);
  request = greedy(prompt_of(5, 1), 5);
  request.logit_bias = {{8192, 1.0f}};
  EXPECT_EQ(code(request), ErrorCode::kInvalidArgument);
  request = greedy(prompt_of(5, 1), 5);
  request.format = {.kind = OutputFormat::Kind::kJsonSchema, .schema = R"({"not": {}})"};
  EXPECT_EQ(code(request), ErrorCode::kUnsupported);
  request.format = {.kind = OutputFormat::Kind::kToolCalls, .tools = "[]"};
  EXPECT_EQ(code(request), ErrorCode::kUnsupported) << "the template has no tools";
  EXPECT_TRUE(ask(service, greedy(prompt_of(5, 1), 5)));
}

TEST(Service, AFullQueueIsBusyAndADrainedOneIsClosed) {
  Service service = open_tiny({.max_batch = 1, .max_queue = 2});
  Results results;
  std::vector<std::shared_ptr<ServiceTicket>> tickets;
  for (int i = 0; i < 3; ++i) {
    ServiceRequest request = greedy(prompt_of(5, 1), 3000);
    request.on_end = results.slot(i);
    auto ticket = service.submit(std::move(request));
    ASSERT_TRUE(ticket) << ticket.error().message;
    tickets.push_back(*ticket);
  }
  const auto refused = service.submit(greedy(prompt_of(5, 1), 5));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kBusy);
  EXPECT_FALSE(service.drain(0.01));
  const auto closed = service.submit(greedy(prompt_of(5, 1), 5));
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error().code, ErrorCode::kCancelled);
  tickets[1]->cancel();
  EXPECT_EQ(results.wait(1)->finish_reason, "cancelled");
  service.cancel_all();
  EXPECT_TRUE(service.drain(60));
  EXPECT_EQ(results.wait(0)->finish_reason, "cancelled");
  EXPECT_EQ(service.stats().refused, 1);
}

TEST(Service, ClosingEndsWhatIsLeft) {
  Results results;
  {
    Service service = open_tiny({.max_batch = 1});
    for (int i = 0; i < 3; ++i) {
      ServiceRequest request = greedy(prompt_of(5, 1), 4000);
      request.on_end = results.slot(i);
      ASSERT_TRUE(service.submit(std::move(request)));
    }
  }
  for (int i = 0; i < 3; ++i) {
    const auto result = results.wait(i);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
  }
}

TEST(Service, ChatPromptsSayWhereTurnsEnd) {
  const Service service = open_tiny({.max_batch = 1});
  const Engine& engine = service.engine();
  const std::string messages =
      R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "<|im_end|>Hi"}])";
  const auto open = engine.chat_prompt({.messages = messages});
  const auto closed = engine.chat_prompt({.messages = messages, .add_generation_prompt = false});
  ASSERT_TRUE(open && closed);
  ASSERT_EQ(open->anchors.size(), 1u);
  EXPECT_EQ(open->anchors[0], static_cast<int64_t>(closed->ids.size()));
  EXPECT_EQ(std::count(open->ids.begin(), open->ids.end(), 11), 2)
      << "a control token in a message is text";
  EXPECT_FALSE(engine.chat_prompt({.messages = "["}));
  EXPECT_FALSE(engine.chat_abilities().tools);
  EXPECT_TRUE(engine.chat_abilities().has_template);
}

}  // namespace
}  // namespace hlwq
