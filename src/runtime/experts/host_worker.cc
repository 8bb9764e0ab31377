#include "runtime/experts/host_worker.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/thread_pool.h"

namespace hlwq {
namespace {

constexpr int64_t kMostAskingTokens = HostShare::kMostTokens;
// Room for a streamed step: tokens that can be looked at, rows that can be given back.
constexpr int64_t kStreamTokens = 4096, kStreamPairs = 8192;

// To begin with, until it is measured: what a thread reads, what all of them do, what the bus
// brings, and how many rows take as long as the reading.
constexpr double kThreadBytes = 8e9, kHostBytes = 100e9, kBusBytes = 45e9;
constexpr double kRowsOfReading = 24;
// The host must spare this part of a layer's time to get anything.
constexpr double kLeastGain = 0.05;
constexpr double kStreamWeight = 1.0 / 8;  // of a sample in the means

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Whether host and device multiply by the records with the same bits, and both reach them.
bool takes(const Backend& device, const ExpertStore& store) {
  if (device.compute() != Compute::kInt8 || !store.pinned()) return false;
  const Mlp& first = store.layer(0).front();
  const auto same = [](const Matrix& a, const Matrix& b) {
    return a.coded() && a.layout == CodeLayout::kTiled5 && a.rows == b.rows && a.cols == b.cols;
  };
  for (int64_t layer = 0; layer < store.layers(); ++layer)
    for (const Mlp& expert : store.layer(layer))
      if (!same(expert.up, first.up) || !same(expert.down, first.down)) return false;
  // Rows go over the bus in words of 16 bytes.
  return first.down.rows % 4 == 0;
}

}  // namespace

int64_t HostWorker::most_asking_tokens() { return kMostAskingTokens; }

Result<std::unique_ptr<HostWorker>> HostWorker::create(Backend& device,
                                                       std::unique_ptr<HostBackend> host,
                                                       const ExpertStore& store,
                                                       std::optional<double> fixed) {
  if (!takes(device, store))
    return fail(ErrorCode::kUnsupported,
                "experts on the CPU: wanted 5-bit codes of one shape in pinned host memory");
  const auto bytes = static_cast<double>(store.slot_bytes());
  const HostShareOptions share = {
      .experts = store.experts(),
      .host_s = bytes / std::min(kThreadBytes * host->threads(), kHostBytes),
      .bus_s = bytes / kBusBytes,
      .fixed = fixed};
  std::unique_ptr<HostWorker> worker(new HostWorker(device, std::move(host), store, share));
  HLWQ_TRY(worker->reserve());
  return worker;
}

Result<Buffer> HostWorker::allocate_pinned(int64_t bytes, std::string_view what) {
  HLWQ_TRY_ASSIGN(Buffer memory, allocate_host(static_cast<size_t>(bytes), what));
  std::memset(memory.data(), 0, memory.bytes());
  HLWQ_TRY_ASSIGN(Buffer pin, device_.pin(memory.data(), memory.bytes()));
  pins_.push_back(std::move(pin));
  return memory;
}

Status HostWorker::reserve() {
  const Mlp& expert = store_.layer(0).front();
  const int64_t used = store_.experts_used(), blocks = expert.up.blocks();
  shape_ = {.experts = store_.experts(),
            .experts_used = used,
            .tokens = kMostAskingTokens,
            .blocks = blocks,
            .width = expert.down.rows};
  HLWQ_TRY_ASSIGN(Buffer mail, allocate_pinned(lay_out_mail(shape_, nullptr).bytes,
                                               "mail between device and host"));
  mail_ = lay_out_mail(shape_, mail.data()).mail;
  publish_shares();
  seconds_.resize(static_cast<size_t>(store_.layers()));

  const int64_t x_blocks = kStreamTokens * blocks;
  HLWQ_TRY_ASSIGN(Buffer x, allocate_pinned(x_blocks * (kBlock + 8), "rows for the host"));
  stream_x_.xq = reinterpret_cast<int8_t*>(x.data());
  stream_x_.sx = reinterpret_cast<float*>(x.data() + x_blocks * kBlock);
  stream_x_.sum = reinterpret_cast<int32_t*>(stream_x_.sx + x_blocks);
  stream_x_.blocks = blocks;
  HLWQ_TRY_ASSIGN(Buffer y,
                  allocate_pinned(kStreamPairs * (shape_.width + 1) * 4, "rows from the host"));
  stream_y_ = y.as<float>().data();
  stream_choices_ = reinterpret_cast<int32_t*>(stream_y_ + kStreamPairs * shape_.width);
  pair_s_ = share_.host_s() / kRowsOfReading;
  stream_record_s_ = share_.bus_s();
  memory_.push_back(std::move(mail));
  memory_.push_back(std::move(x));
  memory_.push_back(std::move(y));

  return host_->reserve({.tokens = (kStreamPairs + used - 1) / used,
                         .width = std::max(expert.up.cols, expert.down.rows),
                         .mlp_width = expert.up.rows,
                         .experts = store_.experts(),
                         .experts_used = used});
}

void HostWorker::publish_shares() {
  // The device may read it meanwhile: one share or the other, both are right.
  std::copy(share_.shares().begin(), share_.shares().end(), mail_.shares);
}

void HostWorker::serve(ExpertQuestions& questions) {
  const bool whole_step = questions.count() == store_.layers();
  if (share_.rests()) {
    // No question will have work. Watching for it would take a core that another load wants.
    if (whole_step) share_.rest();
    bus_seen_ = false;
    return;
  }
  if (!std::exchange(bus_seen_, true)) bus_ = *mail_.bus;
  std::optional<ThreadPool::Awake> awake;
  if (ThreadPool* const pool = host_->pool(); pool != nullptr && share_.shares().back() > 0)
    awake.emplace(pool->keep_awake());
  const auto begin = Clock::now();
  int64_t misses = 0;
  while (questions.next()) {
    const auto asked = Clock::now();
    const int64_t experts = mail_.question->experts, layer = mail_.question->layer;
    answer_question();
    questions.answer();
    const double seconds = seconds_since(asked);
    share_.note_host(experts, seconds);
    seconds_[static_cast<size_t>(layer)] += seconds;
    misses += experts;
  }
  const BusTime now = *mail_.bus;
  const auto records = static_cast<int64_t>(now.records - bus_.records);
  share_.note_bus(records, static_cast<double>(now.ns - bus_.ns) * 1e-9);
  bus_ = now;
  // Not of a step that is given to the device layer by layer.
  if (whole_step) share_.note_step(questions.tokens(), misses + records, seconds_since(begin));
  if (share_.update()) publish_shares();
  say_when_it_hinders();
}

void HostWorker::answer_question() {
  const ExpertQuestion& question = *mail_.question;
  const auto choices = static_cast<size_t>(question.tokens * shape_.experts_used);
  pairs_.gather(store_.layer(question.layer),
                {mail_.experts, static_cast<size_t>(question.experts)}, {mail_.ids, choices},
                shape_.experts_used);
  *mail_.rows = pairs_.pairs();
  std::copy(pairs_.choices.begin(), pairs_.choices.end(), mail_.choices);
  host_->expert_outputs({.x = {.xq = mail_.xq,
                               .sx = mail_.sx,
                               .sum = mail_.sum,
                               .rows = question.tokens,
                               .blocks = shape_.blocks},
                         .experts = pairs_.experts,
                         .begin = pairs_.begin.data(),
                         .tokens = pairs_.tokens.data(),
                         .y = dense(mail_.y, pairs_.pairs(), shape_.width)});
}

std::span<const int32_t> HostWorker::choose(std::span<const int32_t> missing,
                                            std::span<const int32_t> choices, int64_t tokens) {
  chosen_.assign(missing.begin(), missing.end());
  const auto rows = [&](int32_t e) { return choices[static_cast<size_t>(e)]; };
  // The bus takes as long for an expert of many rows.
  std::stable_sort(chosen_.begin(), chosen_.end(),
                   [&](int32_t a, int32_t b) { return rows(a) < rows(b); });
  chosen_.resize(count_for_host(choices, tokens));
  std::sort(chosen_.begin(), chosen_.end());
  return chosen_;
}

// How many of chosen_, the first of them. Rows that go to the host and come back take the bus too.
size_t HostWorker::count_for_host(std::span<const int32_t> choices, int64_t tokens) {
  trial_ =
      &trials_[static_cast<size_t>(std::bit_width(static_cast<uint64_t>(tokens))) % trials_.size()];
  if (tokens > kStreamTokens || chosen_.empty()) return 0;
  const auto all = static_cast<double>(chosen_.size());
  size_t limit = chosen_.size();
  if (share_.fixed()) {
    limit = static_cast<size_t>(std::lround(*share_.fixed() * all));
  } else if (!trial_->next_with_help()) {
    return 0;
  }
  const double row_s = stream_record_s_ * static_cast<double>(shape_.width) * sizeof(float) /
                       static_cast<double>(store_.slot_bytes());
  const double there_s = static_cast<double>(tokens) * row_s / 4;  // int8
  double least = all * stream_record_s_ * (1 - kLeastGain);
  size_t best = 0;
  int64_t pairs = 0;
  for (size_t count = 1; count <= limit; ++count) {
    pairs += choices[static_cast<size_t>(chosen_[count - 1])];
    if (pairs > kStreamPairs) break;
    if (share_.fixed()) {
      best = count;
      continue;
    }
    const double host =
        static_cast<double>(count) * share_.host_s() + static_cast<double>(pairs) * pair_s_;
    const double bus = (all - static_cast<double>(count)) * stream_record_s_;
    const double seconds = std::max(host, bus) + there_s + static_cast<double>(pairs) * row_s;
    if (seconds < least) least = seconds, best = count;
  }
  return best;
}

void HostWorker::note_stream(int64_t records, double seconds, bool waited) {
  const auto helped = static_cast<int64_t>(chosen_.size());
  if (records + helped > 0)
    trial_->note(helped > 0, seconds / static_cast<double>(records + helped));
  if (waited && records > 0)
    stream_record_s_ += kStreamWeight * (seconds / static_cast<double>(records) - stream_record_s_);
}

void HostWorker::take_rows(const QuantizedView& x) {
  const auto blocks = static_cast<size_t>(x.rows * x.blocks);
  HLWQ_CHECK(x.rows <= kStreamTokens && x.blocks == stream_x_.blocks);
  stream_x_.rows = x.rows;
  device_.download(stream_x_.xq, x.xq, blocks * kBlock);
  device_.download(stream_x_.sx, x.sx, blocks * sizeof(float));
  device_.download(stream_x_.sum, x.sum, blocks * sizeof(int32_t));
}

ExpertRows HostWorker::multiply(int64_t layer, std::span<const int32_t> ids) {
  const auto begin = Clock::now();
  pairs_.gather(store_.layer(layer), chosen_, ids, shape_.experts_used);
  HLWQ_CHECK(pairs_.pairs() <= kStreamPairs);
  host_->expert_outputs({.x = stream_x_,
                         .experts = pairs_.experts,
                         .begin = pairs_.begin.data(),
                         .tokens = pairs_.tokens.data(),
                         .y = dense(stream_y_, pairs_.pairs(), shape_.width)});
  std::copy(pairs_.choices.begin(), pairs_.choices.end(), stream_choices_);
  const double seconds = seconds_since(begin);
  // What reading the experts does not explain, their rows do.
  const auto experts = static_cast<double>(chosen_.size());
  const double for_rows =
      (seconds - experts * share_.host_s()) / static_cast<double>(pairs_.pairs());
  pair_s_ += kStreamWeight * (std::max(for_rows, 0.0) - pair_s_);
  if (for_rows < 0) share_.note_host(static_cast<int64_t>(chosen_.size()), seconds);
  return {.choices = stream_choices_, .y = stream_y_, .rows = pairs_.pairs()};
}

void HostWorker::say_when_it_hinders() {
  if (!share_.host_hinders() || std::exchange(said_it_hinders_, true)) return;
  log(LogLevel::kWarning,
      fmt::format("experts: the CPU takes {:.2f} ms for one, the bus {:.2f}, and steps are faster "
                  "without the CPU, which may be slow or busy: it is tried again from time to time",
                  share_.host_s() * 1e3, share_.bus_s() * 1e3));
}

}  // namespace hlwq
