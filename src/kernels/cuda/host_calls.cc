#include "kernels/cuda/host_calls.h"

#include <atomic>
#include <stdexcept>
#include <utility>

#include "base/check.h"
#include "base/pause.h"
#include "kernels/cuda/check.h"

namespace hlwq::cuda {
namespace {

constexpr int kLooksBetweenQueries = 4096;  // at the mail, between two at the device

// The questions up to number `last`.
class Questions final : public ExpertQuestions {
 public:
  Questions(const ExpertMail& mail, uint64_t count, int64_t tokens, cudaStream_t stream)
      : mail_(mail),
        stream_(stream),
        count_(count),
        tokens_(tokens),
        done_(*mail.answered),
        last_(done_ + count) {}
  // The device waits for what is left without an answer, for ever: it gets one, and the numbers
  // that come of it are the failed step's.
  ~Questions() { answered(last_); }
  Questions(const Questions&) = delete;
  Questions& operator=(const Questions&) = delete;

  [[nodiscard]] int64_t count() const override { return static_cast<int64_t>(count_); }
  [[nodiscard]] int64_t tokens() const override { return tokens_; }
  [[nodiscard]] bool next() override {
    const std::atomic_ref<uint64_t> asked(*mail_.asked);
    for (int looks = 0; done_ < last_; ++looks) {
      const uint64_t word = asked.load(std::memory_order_acquire);
      // Those between had no work, or they would still be asked.
      if (const uint64_t number = word / 2; number > done_) {
        done_ = number;
        if (word == question_word(number, true)) return true;
        continue;
      }
      if (looks % kLooksBetweenQueries == kLooksBetweenQueries - 1) check_device(word);
      pause_cpu();
    }
    return false;
  }
  void answer() override { answered(done_); }

 private:
  void answered(uint64_t number) {
    std::atomic_ref<uint64_t>(*mail_.answered).store(number, std::memory_order_release);
  }
  void check_device(uint64_t seen) const {
    const cudaError_t error = cudaStreamQuery(stream_);
    if (error == cudaErrorNotReady) return;
    HLWQ_CUDA(error);
    // It is done: what it asked is there to be seen.
    const uint64_t word = std::atomic_ref<uint64_t>(*mail_.asked).load(std::memory_order_acquire);
    if (word == seen) throw std::runtime_error("the device ended a step without asking the host");
  }

  const ExpertMail& mail_;
  cudaStream_t stream_;
  uint64_t count_;
  int64_t tokens_;
  uint64_t done_, last_;
};

}  // namespace

void HostCalls::add(HostExperts& host, int64_t tokens) {
  HLWQ_CHECK(host_ == nullptr || (host_ == &host && tokens_ == tokens));
  host_ = &host;
  tokens_ = tokens;
  ++questions_;
}

void HostCalls::serve(cudaStream_t stream) {
  HostExperts* const host = std::exchange(host_, nullptr);
  const uint64_t count = std::exchange(questions_, 0);
  if (host == nullptr) return;
  Questions questions(host->mail(), count, tokens_, stream);
  host->serve(questions);
}

}  // namespace hlwq::cuda
