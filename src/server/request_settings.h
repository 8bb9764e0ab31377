#pragma once

#include <cstdint>
#include <string>

#include "hlwq/service.h"
#include "server/fields.h"

namespace hlwq::server {

inline constexpr int64_t kMostChoices = 64;                   // n
inline constexpr int64_t kMostLogprobs = 20;                  // top_logprobs
inline constexpr size_t kMostStops = 64;                      // stop strings
inline constexpr size_t kMostStopBytes = 1024;                // of one
inline constexpr size_t kMostBiases = 2048;                   // entries of logit_bias
inline constexpr int64_t kSeedBits = (int64_t{1} << 53) - 1;  // of a seed; clients send all of 64

// What all ways of asking for text have in common.
struct RequestSettings {
  ServiceRequest request;  // without prompt, format and callbacks
  int64_t choices = 1;     // n
  bool stream = false;
  bool stream_usage = false;  // stream_options.include_usage
  std::string model;          // as the client named it; empty: did not
};

// Reads max_tokens (or max_completion_tokens, max_output_tokens), temperature, top_p, top_k, min_p,
// repetition_penalty (or repeat_penalty), presence_penalty, frequency_penalty, seed, stop,
// logit_bias, n, stream, stream_options, model, ignore_eos. Errors: kInvalidArgument, naming the
// field.
[[nodiscard]] Result<RequestSettings> read_settings(const Fields& fields);

}  // namespace hlwq::server
