#include "runtime/experts/routing_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "ops/expert_cache.h"

namespace hlwq {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are moved as they lie");

constexpr std::string_view kMagic = "HLWQROUT";
constexpr uint32_t kVersion = 1;
constexpr uint64_t kHeaderBytes = 32, kStepBytes = 8;
constexpr uint32_t kPromptFlag = 1;
// Of a file that is read: days of text, and little enough to hold.
constexpr uint64_t kMostBytes = uint64_t{1} << 31;
constexpr uint32_t kMostTokens = uint32_t{1} << 20;  // of a step, as StepLimits

template <typename T>
void put(std::vector<std::byte>& bytes, T value) {
  const auto* const at = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), at, at + sizeof value);
}

template <typename T>
T get(std::span<const std::byte> bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

class Reader {
 public:
  explicit Reader(const InputFile& file) : file_(file) {}

  Result<RoutingTrace> read() {
    HLWQ_TRY(read_header());
    for (uint64_t step = 0; step < steps_; ++step) HLWQ_TRY(read_step(step));
    if (at_ != file_.bytes())
      return refuse(ErrorCode::kBadLayout, fmt::format("{} bytes follow the last of {} steps",
                                                       file_.bytes() - at_, steps_));
    return std::move(trace_);
  }

 private:
  tl::unexpected<Error> refuse(ErrorCode code, const std::string& what) const {
    return fail(code, fmt::format("{}: {}", file_.path(), what));
  }

  Status read_header() {
    if (file_.bytes() < kHeaderBytes || file_.bytes() > kMostBytes)
      return refuse(ErrorCode::kBadHeader,
                    fmt::format("not a routing trace: {} bytes, wanted {} to {}", file_.bytes(),
                                kHeaderBytes, kMostBytes));
    std::array<std::byte, kHeaderBytes> header;
    HLWQ_TRY(file_.read(0, header));
    if (std::memcmp(header.data(), kMagic.data(), kMagic.size()) != 0)
      return refuse(ErrorCode::kBadHeader, fmt::format("not a routing trace: wanted '{}' at the "
                                                       "beginning",
                                                       kMagic));
    if (const auto version = get<uint32_t>(header, 8); version != kVersion)
      return refuse(ErrorCode::kUnsupported,
                    fmt::format("routing trace of version {}, wanted {}", version, kVersion));
    RoutingShape& shape = trace_.shape;
    shape = {.layers = get<uint32_t>(header, 12),
             .experts = get<uint32_t>(header, 16),
             .used = get<uint32_t>(header, 20)};
    if (shape.layers < 1 || shape.experts < 1 || shape.used < 1 || shape.used > shape.experts ||
        shape.layers * shape.experts > kMostExpertKeys)
      return refuse(ErrorCode::kBadHeader,
                    fmt::format("{} MoE layers of {} experts, {} of them used; wanted at least 1 "
                                "each, no more used than there are, at most {} experts in all",
                                shape.layers, shape.experts, shape.used, kMostExpertKeys));
    steps_ = get<uint64_t>(header, 24);
    const uint64_t least = kStepBytes + 2 * static_cast<uint64_t>(shape.layers * shape.used);
    if (steps_ > (file_.bytes() - kHeaderBytes) / least)
      return refuse(ErrorCode::kBadLayout,
                    fmt::format("{} steps of at least {} bytes in a file of {}", steps_, least,
                                file_.bytes()));
    at_ = kHeaderBytes;
    trace_.steps.reserve(steps_);
    trace_.ids.reserve((file_.bytes() - kHeaderBytes - steps_ * kStepBytes) / 2);
    return {};
  }

  Status read_step(uint64_t number) {
    const auto left = [&] { return file_.bytes() - at_; };
    const RoutingShape& shape = trace_.shape;
    std::array<std::byte, kStepBytes> head;
    if (left() < kStepBytes)
      return refuse(ErrorCode::kBadLayout,
                    fmt::format("ends in the head of step {} of {}", number, steps_));
    HLWQ_TRY(file_.read(at_, head));
    at_ += kStepBytes;
    const auto tokens = get<uint32_t>(head, 0), flags = get<uint32_t>(head, 4);
    if (tokens < 1 || tokens > kMostTokens || flags > kPromptFlag)
      return refuse(ErrorCode::kBadValue,
                    fmt::format("step {}: {} tokens, flags {}; wanted 1 to {} and 0 or 1", number,
                                tokens, flags, kMostTokens));
    // Below 2^16 * 2^20 * 2^16.
    const uint64_t count =
        static_cast<uint64_t>(shape.layers) * tokens * static_cast<uint64_t>(shape.used);
    if (count > left() / sizeof(uint16_t))
      return refuse(ErrorCode::kBadLayout, fmt::format("step {} of {}: {} choices, {} bytes left",
                                                       number, steps_, count, left()));
    const RoutingStep step = {
        .prompt = flags == kPromptFlag, .tokens = tokens, .first = trace_.ids.size()};
    trace_.ids.resize(step.first + count);
    const auto ids = std::span(trace_.ids).subspan(step.first);
    HLWQ_TRY(file_.read(at_, std::as_writable_bytes(ids)));
    at_ += count * sizeof(uint16_t);
    for (size_t i = 0; i < ids.size(); ++i) {
      const bool ascends = i % static_cast<size_t>(shape.used) == 0 || ids[i - 1] < ids[i];
      if (ids[i] >= shape.experts || !ascends)
        return refuse(ErrorCode::kBadValue,
                      fmt::format("step {}: choice {} is expert {}; wanted one below {}, ascending "
                                  "within a token",
                                  number, i, ids[i], shape.experts));
    }
    trace_.steps.push_back(step);
    return {};
  }

  const InputFile& file_;
  uint64_t at_ = 0, steps_ = 0;
  RoutingTrace trace_;
};

}  // namespace

Result<RoutingShape> routing_shape_of(const ModelConfig& config) {
  RoutingShape shape;
  for (const LayerConfig& layer : config.layers) {
    if (layer.kind != LayerKind::kMoe) continue;
    const RoutingShape of_layer = {shape.layers, layer.moe.experts, layer.moe.experts_used};
    if (shape.layers > 0 && of_layer != shape)
      return fail(
          ErrorCode::kUnsupported,
          fmt::format("MoE layers of {} experts, {} used, beside ones of {}, {} used: their "
                      "routing is not traced",
                      shape.experts, shape.used, of_layer.experts, of_layer.used));
    shape = {of_layer.layers + 1, of_layer.experts, of_layer.used};
  }
  if (shape.layers == 0)
    return fail(ErrorCode::kUnsupported, "the model has no MoE layers, so nothing is routed");
  if (shape.layers * shape.experts > kMostExpertKeys)
    return fail(ErrorCode::kUnsupported,
                fmt::format("{} MoE layers of {} experts: a trace takes up to {} experts",
                            shape.layers, shape.experts, kMostExpertKeys));
  return shape;
}

Result<RoutingTrace> read_routing_trace(const std::string& path) {
  HLWQ_TRY_ASSIGN(const InputFile file, InputFile::open(path));
  return Reader(file).read();
}

Result<RoutingRecorder> RoutingRecorder::create(const std::string& path,
                                                const ModelConfig& config) {
  HLWQ_TRY_ASSIGN(const RoutingShape shape, routing_shape_of(config));
  HLWQ_TRY_ASSIGN(OutputFile file, OutputFile::create(path));
  RoutingRecorder recorder(std::move(file), shape);
  const std::array<std::byte, kHeaderBytes> room{};  // the header is written when all is known
  HLWQ_TRY(recorder.file_.append(room));
  return recorder;
}

const StepObserver* RoutingRecorder::begin_step(std::span<const Segment> segments) {
  int64_t tokens = 0;
  bool prompt = false;
  for (const Segment& segment : segments) {
    tokens += segment.tokens;
    prompt = prompt || segment.tokens > 1;
  }
  step_.clear();
  put(step_, static_cast<uint32_t>(tokens));
  put(step_, prompt ? kPromptFlag : 0u);
  observer_.routed = [this](int64_t /*layer*/, const int32_t* ids, const float* /*weights*/,
                            int64_t count, int64_t used) {
    HLWQ_CHECK(used == shape_.used);
    for (int64_t i = 0; i < count * used; ++i) put(step_, static_cast<uint16_t>(ids[i]));
  };
  return &observer_;
}

Status RoutingRecorder::end_step() {
  const auto tokens = static_cast<int64_t>(get<uint32_t>(step_, 0));
  HLWQ_CHECK(step_.size() ==
             kStepBytes +
                 sizeof(uint16_t) * static_cast<size_t>(shape_.layers * tokens * shape_.used));
  ++steps_;
  return file_.append(step_);
}

Status RoutingRecorder::write_header() {
  std::vector<std::byte> header;
  for (const char letter : kMagic) header.push_back(static_cast<std::byte>(letter));
  put(header, kVersion);
  put(header, static_cast<uint32_t>(shape_.layers));
  put(header, static_cast<uint32_t>(shape_.experts));
  put(header, static_cast<uint32_t>(shape_.used));
  put(header, steps_);
  HLWQ_CHECK(header.size() == kHeaderBytes);
  return file_.write_at(0, header);
}

Status RoutingRecorder::commit() {
  HLWQ_TRY(write_header());
  return file_.commit();
}

}  // namespace hlwq
