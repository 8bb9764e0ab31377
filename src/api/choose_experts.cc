#include "api/choose_experts.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "base/check.h"
#include "base/units.h"
#include "io/printable.h"
#include "kernels/backends.h"

namespace hlwq {
namespace {

constexpr std::string_view kHotnessName = "hlwq-expert-use.json";

Result<int64_t> parse_slots(const std::string& text) {
  int64_t slots = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, slots);
  if (parsed.ec == std::errc() && parsed.ptr == end && slots >= 1 && slots <= 1 << 20) return slots;
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("--moe-expert-cache-size: got '{}', wanted 1 or more slots a layer, or all",
                  printable(text)));
}

Result<double> parse_share(const std::string& text) {
  double share = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, share);
  if (parsed.ec == std::errc() && parsed.ptr == end && share >= 0 && share <= 1) return share;
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("--cpu-experts: got '{}', wanted auto, off or a share from 0 to 1",
                          printable(text)));
}

}  // namespace

CachePolicy cache_policy_of(const std::string& name) {
  if (name == "lru") return CachePolicy::kLru;
  if (name == "lfru") return CachePolicy::kLfru;
  if (name == "fifo") return CachePolicy::kFifo;
  HLWQ_CHECK(name == "frecency");
  return CachePolicy::kFrecency;
}

Result<CpuChoice> choose_cpu(const EngineOptions& options) {
  if (options.cpu_experts == "off") return CpuChoice{};
  CpuChoice choice{.helps = true, .threads = static_cast<int>(options.threads)};
  if (options.cpu_experts != "auto") {
    HLWQ_TRY_ASSIGN(choice.share, parse_share(options.cpu_experts));
  }
  if (options.compute != "exact") return choice;
  if (!choice.share) return CpuChoice{};
  return fail(ErrorCode::kUnsupported,
              fmt::format("--cpu-experts {}: with --compute exact the CPU does not give the GPU's "
                          "bits",
                          options.cpu_experts));
}

Result<std::unique_ptr<HostBackend>> CpuChoice::make() const {
  if (!helps) return nullptr;
  return make_cpu_backend({.threads = threads});
}

Result<std::unique_ptr<OffloadHome>> choose_experts(const EngineOptions& options,
                                                    const Backend& backend,
                                                    const std::string& model_path) {
  OffloadOptions offload{.policy = cache_policy_of(options.cache_policy)};
  const bool sized = options.moe_expert_cache_size != "all";
  if (sized && !options.vram.empty())
    return fail(ErrorCode::kInvalidArgument,
                "--vram and --moe-expert-cache-size: each says how many experts the GPU holds; "
                "wanted one of them");
  if (!sized && options.vram.empty()) {
    const EngineOptions defaults;
    if (options.cache_policy != defaults.cache_policy)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--cache-policy {}: nothing is cached without --vram or "
                              "--moe-expert-cache-size",
                              options.cache_policy));
    if (options.cpu_experts != defaults.cpu_experts && options.cpu_experts != "off")
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--cpu-experts {}: no expert is off the GPU without --vram or "
                              "--moe-expert-cache-size",
                              options.cpu_experts));
    return nullptr;
  }
  if (sized) {
    HLWQ_TRY_ASSIGN(offload.slots_per_layer, parse_slots(options.moe_expert_cache_size));
  }
  if (!options.vram.empty()) {
    auto bytes = parse_bytes(options.vram);
    if (!bytes) return fail(bytes.error().code, "--vram: " + bytes.error().message);
    offload.vram_bytes = *bytes;
  }
  if (backend.device() == Device::kHost)
    return fail(ErrorCode::kUnsupported,
                fmt::format("--{}: the model runs on {}, which has no memory of its own",
                            sized ? "moe-expert-cache-size" : "vram", backend.name()));
  if (options.expert_use == "auto") {
    if (!model_path.empty()) offload.hotness_file = fmt::format("{}/{}", model_path, kHotnessName);
  } else if (options.expert_use != "off") {
    offload.hotness_file = options.expert_use;
  }
  if (options.expert_file == "auto") {
    offload.file_folder = model_path.empty() ? "/tmp" : model_path;
  } else if (options.expert_file != "off") {
    offload.file_folder = options.expert_file;
    offload.always_file = true;
  }
  HLWQ_TRY_ASSIGN(const CpuChoice cpu, choose_cpu(options));
  HLWQ_TRY_ASSIGN(offload.cpu, cpu.make());
  offload.cpu_share = cpu.share;
  return std::make_unique<OffloadHome>(std::move(offload));
}

}  // namespace hlwq
