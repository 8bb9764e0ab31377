#include "server/answers.h"

#include <utility>

#include "server/request_settings.h"

namespace hlwq::server {
Result<std::shared_ptr<Answers>> Answers::ask(Service& service,
                                              std::span<const ServiceRequest> requests,
                                              int64_t choices, bool every_token, Metrics& metrics) {
  std::shared_ptr<Answers> answers(new Answers);
  const int64_t count = static_cast<int64_t>(requests.size()) * choices;
  for (int64_t choice = 0; choice < count; ++choice) {
    ServiceRequest one = requests[static_cast<size_t>(choice / choices)];
    if (auto& seed = one.sampling.seed) *seed = (*seed + choice % choices) & kSeedBits;
    const auto post = [mailbox = answers->mailbox_](AnswerEvent event) {
      {
        const std::lock_guard lock(mailbox->mutex);
        mailbox->events.push_back(std::move(event));
      }
      mailbox->filled.notify_one();
    };
    auto timing = std::make_shared<AnswerTiming>(metrics);
    one.on_piece = [post, choice, timing, every_token,
                    unsaid = std::vector<int32_t>()](const ServicePiece& piece) mutable {
      if (piece.id >= 0) {
        timing->token();
        unsaid.push_back(piece.id);
      }
      if (piece.text.empty() && piece.chosen == nullptr && !every_token) return true;
      AnswerEvent event = {
          .choice = choice, .text = std::string(piece.text), .ids = std::exchange(unsaid, {})};
      if (piece.chosen != nullptr)
        event.logprobs = {*piece.chosen, {piece.top.begin(), piece.top.end()}};
      post(std::move(event));
      return true;
    };
    one.on_end = [post, choice, timing](Result<GenerateResult> result) {
      timing->end(result);
      post({.choice = choice, .ended = std::move(result)});
    };
    auto ticket = service.submit(std::move(one));
    if (!ticket) return tl::unexpected(ticket.error());
    answers->tickets_.push_back(std::move(*ticket));
    ++answers->ends_left_;
  }
  return answers;
}

Answers::~Answers() {
  for (const auto& ticket : tickets_) ticket->cancel();
}

std::vector<AnswerEvent> Answers::take(std::chrono::milliseconds wait) {
  if (ends_left_ == 0) return {};
  std::unique_lock lock(mailbox_->mutex);
  mailbox_->filled.wait_for(lock, wait, [&] { return !mailbox_->events.empty(); });
  std::vector<AnswerEvent> events = std::exchange(mailbox_->events, {});
  for (const AnswerEvent& event : events) ends_left_ -= event.ended ? 1 : 0;
  return events;
}

bool Answers::all_taken() { return ends_left_ == 0; }

}  // namespace hlwq::server
