#pragma once
// What the router chose, step by step, in a file (docs/format.md#routing-traces): what a cache of
// experts is simulated with.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/file.h"
#include "model/model.h"

namespace hlwq {

struct RoutingShape {
  int64_t layers = 0;   // MoE layers
  int64_t experts = 0;  // of each
  int64_t used = 0;     // of each by a token
  bool operator==(const RoutingShape&) const = default;
};

// Errors: kUnsupported (no MoE layers, layers that differ, more experts than a cache serves).
[[nodiscard]] Result<RoutingShape> routing_shape_of(const ModelConfig& config);

struct RoutingStep {
  bool prompt = false;  // some sequence had more than one token in it
  int64_t tokens = 0;
  size_t first = 0;  // its choices in RoutingTrace::ids: [layers][tokens][used]
};

struct RoutingTrace {
  RoutingShape shape;
  std::vector<RoutingStep> steps;
  std::vector<uint16_t> ids;  // ascending within a token

  [[nodiscard]] std::span<const uint16_t> of(const RoutingStep& step) const {
    return std::span(ids).subspan(step.first,
                                  static_cast<size_t>(shape.layers * step.tokens * shape.used));
  }
};

// Errors: kMissing, kIo, kBadHeader (not such a file, numbers out of range), kBadLayout (it ends
// early or goes on), kBadValue (choices that no router makes); each names the file.
[[nodiscard]] Result<RoutingTrace> read_routing_trace(const std::string& path);

// Writes a trace while a model runs: whoever calls Model::forward begins the step, passes the
// observer on and ends the step.
class RoutingRecorder {
 public:
  // Errors: as routing_shape_of, kIo.
  static Result<RoutingRecorder> create(const std::string& path, const ModelConfig& config);

  // Valid until the next call and while this stays where it is.
  [[nodiscard]] const StepObserver* begin_step(std::span<const Segment> segments);
  // Errors: kIo.
  [[nodiscard]] Status end_step();
  // The file is there once this has succeeded. Errors: kIo.
  [[nodiscard]] Status commit();

 private:
  RoutingRecorder(OutputFile file, RoutingShape shape) : file_(std::move(file)), shape_(shape) {}
  [[nodiscard]] Status write_header();

  OutputFile file_;
  RoutingShape shape_;
  uint64_t steps_ = 0;
  std::vector<std::byte> step_;  // its bytes so far
  StepObserver observer_;
};

}  // namespace hlwq
