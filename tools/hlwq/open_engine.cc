#include "open_engine.h"

#include "progress.h"

namespace hlwq::cli {

Result<Engine> open_engine(const std::string& model, const EngineOptions& options) {
  Progress progress("loading", /*is_bytes=*/true);
  return Engine::open(model, options,
                      [&](uint64_t done, uint64_t total) { progress.update(done, total); });
}

}  // namespace hlwq::cli
