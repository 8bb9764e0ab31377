#pragma once

#include <string>

#include "base/result.h"
#include "hlwq/engine.h"

namespace hlwq::cli {

// Loads the model with a progress line on terminals. Errors: as Engine::open.
[[nodiscard]] Result<Engine> open_engine(const std::string& model, const EngineOptions& options);

}  // namespace hlwq::cli
