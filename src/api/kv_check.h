#pragma once
// What a KV cache of codes costs a model's predictions, measured when an engine opens.

#include "hlwq/options.h"
#include "model/model.h"
#include "ops/backend.h"
#include "runtime/sequence_pool.h"
#include "text/tokenizer.h"

namespace hlwq {

struct KvCheck {
  const EngineOptions& options;
  Backend& backend;
  Model& model;
  const Tokenizer& tokenizer;
  KvForm kv;
  int64_t step_tokens;     // StepLimits::tokens of the model
  int64_t context;         // of its sequences
  size_t sequence_bytes;   // planned for them, and not taken yet
  bool experts_elsewhere;  // a prompt would wait for all of them
};

// Runs a page of English through the cache asked for and through one of 16 bits, and logs the mean
// divergence of the predictions that read codes; as a warning when it is more than
// kMostKvDivergence. Where that would take long, or more memory than sequences are to have under
// --vram, it logs that nothing was measured. Does nothing without codes and with --kv-check off.
void check_kv_cache(const KvCheck& check);

// Nats a prediction: nearly what weights of 5 bits cost (0.024 on the shipped model,
// bench/NOTES.md). A cache that costs as much again is worth a word.
inline constexpr double kMostKvDivergence = 0.02;

// English of more than 700 tokens in any vocabulary, free of rights.
extern const char* const kKvCheckText;

}  // namespace hlwq
