#pragma once
// The host's part in multiplying experts that the device does not hold: in the middle of a decode
// step, when the device asks (ops/expert_mail.h), and beside a streamed step. It reads the records
// where they lie, by the arithmetic of D1, so nothing depends on who multiplies.

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "ops/host_backend.h"
#include "runtime/experts/expert_store.h"
#include "runtime/experts/host_pairs.h"
#include "runtime/experts/host_share.h"
#include "runtime/experts/stream_trial.h"

namespace hlwq {

class HostWorker final : public HostExperts {
 public:
  // `fixed` as HostShareOptions. `store` and `device` must outlive this. Errors: kOutOfMemory,
  // kUnsupported (records of a form that host and device would not multiply with the same bits, or
  // that are not in pinned memory; the system pins no more).
  static Result<std::unique_ptr<HostWorker>> create(Backend& device,
                                                    std::unique_ptr<HostBackend> host,
                                                    const ExpertStore& store,
                                                    std::optional<double> fixed);

  // Tokens of a step in which the device may ask.
  [[nodiscard]] static int64_t most_asking_tokens();
  [[nodiscard]] const ExpertMail& mail() const override { return mail_; }
  void serve(ExpertQuestions& questions) override;

  // A streamed step, three calls a layer. Of the experts that are in no slot, ascending, with so
  // many choices each, those that the host should multiply, ascending; perhaps none.
  [[nodiscard]] std::span<const int32_t> choose(std::span<const int32_t> missing,
                                                std::span<const int32_t> choices, int64_t tokens);
  // What they read, from the device, which it waits for.
  void take_rows(const QuantizedView& x);
  // Multiplies them, `ids` being the router's. The rows lie in pinned memory until the next call.
  [[nodiscard]] ExpertRows multiply(int64_t layer, std::span<const int32_t> ids);
  // The layer for which choose() was called took so long with all it began, in which the bus
  // brought so many records; `waited`: for the device, not for the host.
  void note_stream(int64_t records, double seconds, bool waited);

  [[nodiscard]] bool take_non_finite() { return host_->take_non_finite(); }
  // Seconds that answers took, by layer, since the last call.
  [[nodiscard]] std::vector<double> take_seconds() {
    return std::exchange(seconds_, std::vector<double>(seconds_.size()));
  }
  [[nodiscard]] const HostShare& share() const { return share_; }

 private:
  HostWorker(Backend& device, std::unique_ptr<HostBackend> host, const ExpertStore& store,
             const HostShareOptions& share)
      : device_(device), host_(std::move(host)), store_(store), share_(share) {}
  [[nodiscard]] Status reserve();
  [[nodiscard]] Result<Buffer> allocate_pinned(int64_t bytes, std::string_view what);
  void answer_question();
  [[nodiscard]] size_t count_for_host(std::span<const int32_t> choices, int64_t tokens);
  void publish_shares();
  void say_when_it_hinders();

  Backend& device_;
  std::unique_ptr<HostBackend> host_;
  const ExpertStore& store_;
  HostShare share_;
  ExpertMailShape shape_;
  // Rights to pinned memory go before the memory.
  std::vector<Buffer> memory_, pins_;
  ExpertMail mail_;
  HostPairs pairs_;
  BusTime bus_;                  // of the mail, seen last
  bool bus_seen_ = false;        // at the end of the step before this one
  std::vector<double> seconds_;  // [layers]
  bool said_it_hinders_ = false;

  // Of streamed steps.
  QuantizedView stream_x_;
  float* stream_y_ = nullptr;
  int32_t* stream_choices_ = nullptr;
  double pair_s_ = 0;                   // of the host for a row, beside what an expert takes
  double stream_record_s_ = 0;          // of the bus
  std::array<StreamTrial, 16> trials_;  // by the logarithm of a step's tokens
  StreamTrial* trial_ = nullptr;        // of the layer at hand
  std::vector<int32_t> chosen_;
};

}  // namespace hlwq
