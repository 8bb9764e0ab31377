#include "ops/host_backend.h"

#include "base/check.h"

namespace hlwq {
namespace {

// A question that was put into the mail by the caller of serve().
class OneQuestion final : public ExpertQuestions {
 public:
  explicit OneQuestion(int64_t tokens) : tokens_(tokens) {}
  [[nodiscard]] int64_t count() const override { return 1; }
  [[nodiscard]] int64_t tokens() const override { return tokens_; }
  [[nodiscard]] bool next() override { return !std::exchange(asked_, true); }
  void answer() override { answered_ = true; }
  [[nodiscard]] bool answered() const { return answered_; }

 private:
  int64_t tokens_;
  bool asked_ = false, answered_ = false;
};

}  // namespace

void HostBackend::place_experts(const PlaceExpertsArgs& args) {
  const ExpertCache& cache = args.cache;
  const int32_t* const shares = args.host == nullptr ? nullptr : args.host->mail().shares;
  needed_.resize(static_cast<size_t>(cache.shape.experts));
  place_experts_on_host(cache, args.layer, args.ids, args.choices, shares, args.table,
                        needed_.data());
  for (int32_t i = 0; i < *cache.copy_count; ++i)
    copy(cache.copies[i].to, cache.copies[i].from,
         static_cast<size_t>(cache.records[args.layer].bytes));
  if (args.host != nullptr) ask_host(args);
}

void HostBackend::ask_host(const PlaceExpertsArgs& args) {
  const ExpertMail& mail = args.host->mail();
  const QuantizedView& x = args.x;
  HLWQ_CHECK(x.rows <= mail.shape.tokens && x.blocks == mail.shape.blocks &&
             x.rows * mail.shape.experts_used == args.choices);
  int32_t count = 0;
  for (int64_t e = 0; e < args.cache.shape.experts; ++e)
    if (needed_[static_cast<size_t>(e)] == kHandedOver)
      mail.experts[count++] = static_cast<int32_t>(e);
  *mail.rows = 0;
  if (count == 0) return;
  *mail.question = {.layer = static_cast<int32_t>(args.layer),
                    .tokens = static_cast<int32_t>(x.rows),
                    .experts = count};
  const auto blocks = static_cast<size_t>(x.rows * x.blocks);
  copy(mail.ids, args.ids, static_cast<size_t>(args.choices) * sizeof(int32_t));
  copy(mail.xq, x.xq, blocks * kBlock);
  copy(mail.sx, x.sx, blocks * sizeof(float));
  copy(mail.sum, x.sum, blocks * sizeof(int32_t));
  OneQuestion question(x.rows);
  args.host->serve(question);
  HLWQ_CHECK(question.answered());
}

}  // namespace hlwq
