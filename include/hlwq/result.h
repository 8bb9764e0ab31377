#pragma once
// How the engine reports input it does not trust (files, JSON, HTTP, flags): as values.

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
  kBusy,  // too much of the same at once; later it may be taken
  kCancelled,
  kInternal,  // a mistake of the engine's own, caught at its edge
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
