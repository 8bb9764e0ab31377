#pragma once

#include <cstddef>
#include <cstdint>

namespace hlwq::jinja {

// Bounds on what a template may ask for. Each is far above what real templates and conversations
// need; a hostile one meets the first of them within about a second.
struct Limits {
  size_t source_bytes = 512u << 10;
  size_t nodes = 100'000;          // expressions and statements of a template
  int nesting = 128;               // of expressions and statements in the source
  int height = 400;                // of an expression's tree: a + b + c ... grows it
  int call_depth = 800;            // expressions and statements under evaluation at a time
  uint64_t steps = 10'000'000;     // an expression is one, 16 bytes of text touched are one
  size_t live_bytes = 128u << 20;  // of all values at a time
  size_t text_bytes = 64u << 20;   // of one text, the output included
  int64_t range_items = 100'000;   // as Jinja's sandbox
  int container_depth = 100;       // lists in dicts in lists
};

// What making an object costs whose memory is not counted: a method, a reason, an attribute.
inline constexpr uint64_t kSmallObjectSteps = 8;

}  // namespace hlwq::jinja
