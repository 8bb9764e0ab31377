#pragma once
// What an Engine holds. Only the files of src/api see it.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/generation_config.h"
#include "base/thread_pool.h"
#include "hlwq/engine.h"
#include "model/model.h"
#include "runtime/experts/offload_home.h"
#include "runtime/session.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "text/tool_format.h"

namespace hlwq {

// Members are destroyed bottom up: what borrows stands below what it borrows from.
struct Engine::Impl {
  EngineOptions options;
  ModelInfo info;
  int64_t step_tokens = 0;  // StepLimits::tokens of the model
  std::unique_ptr<Backend> backend;
  std::unique_ptr<OffloadHome> home;  // of routed experts; null: with everything else
  std::unique_ptr<Model> model;
  KvForm kv;
  Result<Tokenizer> tokenizer = fail(ErrorCode::kMissing, "no tokenizer");
  Result<ChatTemplate> chat_template = fail(ErrorCode::kMissing, "no chat template");
  std::optional<ToolFormat> tool_format;  // that the template shows
  GenerationConfig generation;
  std::vector<int32_t> stop_ids;
  std::optional<Session> session;         // of generate(), made when first used
  std::optional<ThreadPool> row_threads;  // of perplexity(), made when first used

  ~Impl();

  // With options, back end and the experts' home; the rest is for whoever makes the model, whose
  // folder is `model_path` (empty: none).
  [[nodiscard]] static Result<std::unique_ptr<Impl>> start(const EngineOptions& options,
                                                           const std::string& model_path);
  // Fills `info` once the model is there.
  void describe(std::string path, int64_t context);

  [[nodiscard]] Result<Session*> generate_session();
  [[nodiscard]] Result<LogitsResult> logits(const LogitsRequest& request);
  [[nodiscard]] Result<BenchResult> bench(const BenchRequest& request);
};

}  // namespace hlwq
