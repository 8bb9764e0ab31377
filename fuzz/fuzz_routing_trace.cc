// Any bytes as a routing trace: a refusal that names the file, or choices a router can make.
// Links: hlwq::runtime

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "runtime/experts/routing_trace.h"

namespace {

void require(bool promise) {
  if (!promise) std::abort();
}

void check(const hlwq::RoutingTrace& trace) {
  const hlwq::RoutingShape& shape = trace.shape;
  require(shape.layers >= 1 && shape.used >= 1 && shape.used <= shape.experts);
  size_t next = 0;
  for (const hlwq::RoutingStep& step : trace.steps) {
    require(step.first == next && step.tokens >= 1);
    const auto ids = trace.of(step);
    next += ids.size();
    for (size_t i = 0; i < ids.size(); ++i)
      require(ids[i] < shape.experts &&
              (i % static_cast<size_t>(shape.used) == 0 || ids[i - 1] < ids[i]));
  }
  require(next == trace.ids.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  const int file = memfd_create("trace", 0);
  require(file >= 0 && write(file, data, bytes) == static_cast<ssize_t>(bytes));
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  const auto trace = hlwq::read_routing_trace(path);
  close(file);
  if (trace) {
    check(*trace);
  } else {
    require(trace.error().message.starts_with(path + ": "));
  }
  return 0;
}
