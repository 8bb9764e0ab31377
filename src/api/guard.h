#pragma once
// The edge of the engine: what the layers below throw becomes an error here, and only here, and the
// caller's floating-point settings stay outside.

#include <exception>
#include <new>
#include <string>

#include "base/check.h"
#include "base/float_mode.h"
#include "base/result.h"

namespace hlwq {

// Calls `fn`, which returns a Result, and turns exceptions into errors: kOutOfMemory for bad_alloc,
// kInternal for everything else.
template <typename Fn>
auto guarded(Fn&& fn) noexcept -> decltype(fn()) {
  const PinnedFloatMode pinned;
  try {
    return fn();
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kOutOfMemory, "the system refused host memory");
  } catch (const std::exception& e) {
    return fail(ErrorCode::kInternal, std::string("internal error: ") + e.what());
  } catch (...) {
    return fail(ErrorCode::kInternal, "internal error of an unknown kind");
  }
}

}  // namespace hlwq
