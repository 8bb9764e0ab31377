#include "runtime/experts/expert_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "quant/layout.h"

namespace hlwq {

namespace {

constexpr int64_t kReadBytes = int64_t{1} << 20;  // by one thread
constexpr int kMostReaders = 8;

// The fence behind the copy from bounce buffer b.
int copied(size_t b) { return 4 + static_cast<int>(b); }

}  // namespace

Result<ExpertStore> ExpertStore::create(Backend& backend, LoadedExperts experts,
                                        ExpertMemory memory) {
  ExpertStore store;
  store.experts_ = std::move(experts);
  store.memory_ = std::move(memory);
  HLWQ_CHECK(!store.experts_.layers.empty() && !store.experts_.layers.front().empty());
  if (store.layers() * store.experts() > kMostExpertKeys)
    return fail(ErrorCode::kUnsupported,
                fmt::format("{} MoE layers of {} experts: a cache serves up to {} experts",
                            store.layers(), store.experts(), kMostExpertKeys));
  for (const std::vector<Mlp>& layer : store.experts_.layers) {
    if (layer.size() != store.experts_.layers.front().size())
      return fail(ErrorCode::kUnsupported,
                  fmt::format("MoE layers of {} and {} experts cannot share a cache",
                              store.experts_.layers.front().size(), layer.size()));
    HLWQ_TRY(backend.check_experts(layer));
    const Mlp& first = layer.front();
    const auto bytes_to = [&](const std::byte* at) { return at - first.up.data; };
    const ExpertRecord record = {
        .bytes = bytes_to(first.down.data) +
                 round_up(static_cast<int64_t>(first.down.bytes()), kRecordAlign),
        .down_offset = bytes_to(first.down.data)};
    for (size_t e = 0; e < layer.size(); ++e)
      HLWQ_CHECK(bytes_to(layer[e].up.data) == static_cast<int64_t>(e) * record.bytes &&
                 layer[e].down.data == layer[e].up.data + record.down_offset);
    store.records_.push_back(record);
    store.slot_bytes_ = std::max(store.slot_bytes_, record.bytes);
  }
  if (store.in_file()) HLWQ_TRY(store.create_bounce(backend));
  return store;
}

Status ExpertStore::create_bounce(Backend& backend) {
  for (Buffer& buffer : bounce_.memory) {
    HLWQ_TRY_ASSIGN(buffer, allocate_host(static_cast<size_t>(slot_bytes_), "records of experts"));
    // Copies from memory that is not pinned are slower, and as right.
    if (auto pin = backend.pin(buffer.data(), buffer.bytes()))
      bounce_.pins.push_back(std::move(*pin));
  }
  bounce_.threads = std::make_unique<ThreadPool>(std::clamp(backend.threads(), 1, kMostReaders));
  return {};
}

Status ExpertStore::copy_from_file(Backend& backend, int64_t layer, int64_t expert, std::byte* to) {
  const auto bytes = static_cast<size_t>(record(layer).bytes);
  const size_t which = bounce_.next;
  bounce_.next = (which + 1) % bounce_.memory.size();
  backend.wait_on_host(copied(which));  // the copy before from there is done
  const uint64_t from = memory_.offsets[static_cast<size_t>(layer)] +
                        static_cast<uint64_t>(expert) * static_cast<uint64_t>(bytes);
  const std::span<std::byte> record = {bounce_.memory[which].data(), bytes};
  const int64_t pieces = (static_cast<int64_t>(bytes) + kReadBytes - 1) / kReadBytes;
  std::vector<Status> read(static_cast<size_t>(pieces));
  bounce_.threads->run(pieces, [&](int64_t piece) {
    const auto at = static_cast<size_t>(piece * kReadBytes);
    read[static_cast<size_t>(piece)] =
        memory_.file->read(from + at, record.subspan(at, std::min<size_t>(kReadBytes, bytes - at)));
  });
  for (Status& status : read) HLWQ_TRY(std::move(status));
  backend.copy_beside(to, record.data(), bytes);
  backend.record(Queue::kCopies, copied(which));
  return {};
}

Status ExpertStore::copy(Backend& backend, int64_t layer, int64_t expert, int64_t count,
                         std::byte* to) {
  const int64_t bytes = record(layer).bytes;
  if (!in_file()) {
    backend.copy_beside(to, address(layer, expert), static_cast<size_t>(count * bytes));
    return {};
  }
  for (int64_t i = 0; i < count; ++i)
    HLWQ_TRY(copy_from_file(backend, layer, expert + i, to + i * bytes));
  return {};
}

}  // namespace hlwq
