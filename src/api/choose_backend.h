#pragma once
// From EngineOptions to a back end.

#include <memory>

#include "base/result.h"
#include "hlwq/options.h"
#include "ops/backend.h"

namespace hlwq {

// Logs what `auto` chose and why. Errors: kUnsupported for a device this build or machine lacks,
// and for options that this version cannot serve, each named; what making the back end reports.
[[nodiscard]] Result<std::unique_ptr<Backend>> choose_backend(const EngineOptions& options);

}  // namespace hlwq
