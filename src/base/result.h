#pragma once
// How the engine reports input it does not trust (files, JSON, HTTP, flags): as values.
// Broken promises of our own are thrown instead (check.h).

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace hlwq {

enum class ErrorCode {
  kInvalidArgument,  // a flag, option or call argument is wrong
  kBadHeader,        // a header, index or JSON document is malformed
  kBadLayout,        // shapes, dtypes, offsets or sizes contradict each other
  kBadValue,         // numbers that cannot be (NaN weight, infinite norm, code outside the table)
  kMissing,          // a file or tensor that must exist does not
  kUnsupported,      // understood, but not something this build does
  kIo,               // the operating system refused to read or write
  kOutOfMemory,
  kCancelled,
};

struct Error {
  ErrorCode code = ErrorCode::kInvalidArgument;
  std::string message;  // what, where, got and wanted, in one line
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

[[nodiscard]] inline tl::unexpected<Error> fail(ErrorCode code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

}  // namespace hlwq

#define HLWQ_CONCAT_INNER(a, b) a##b
#define HLWQ_CONCAT(a, b) HLWQ_CONCAT_INNER(a, b)

// HLWQ_TRY(call());          returns the error of a Result<void> to the caller
// HLWQ_TRY_ASSIGN(auto x, call());  or binds the value of a Result<T>
#define HLWQ_TRY(expr)                                                        \
  do {                                                                        \
    if (auto hlwq_status = (expr); !hlwq_status) [[unlikely]]                 \
      return ::tl::unexpected<::hlwq::Error>(std::move(hlwq_status).error()); \
  } while (false)

#define HLWQ_TRY_ASSIGN(decl, expr) \
  HLWQ_TRY_ASSIGN_IMPL(HLWQ_CONCAT(hlwq_result_, __LINE__), decl, expr)
#define HLWQ_TRY_ASSIGN_IMPL(tmp, decl, expr)                       \
  auto tmp = (expr);                                                \
  if (!tmp) [[unlikely]]                                            \
    return ::tl::unexpected<::hlwq::Error>(std::move(tmp).error()); \
  decl = std::move(*tmp)
