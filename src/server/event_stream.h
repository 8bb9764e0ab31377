#pragma once
// Server-sent events out of answers as they come.

#include <httplib.h>

#include <memory>
#include <string>
#include <vector>

#include "server/answers.h"
#include "server/fields.h"

namespace hlwq::server {

// Makes the events of one kind of API. Each returns what is to be sent, which may be nothing.
class EventWriter {
 public:
  virtual ~EventWriter() = default;
  [[nodiscard]] virtual std::string begin() { return {}; }
  [[nodiscard]] virtual std::string on(const AnswerEvent& event) = 0;
  [[nodiscard]] virtual std::string on_error(const Error& error) = 0;  // then nothing follows
  [[nodiscard]] virtual std::string end() = 0;
};

[[nodiscard]] std::string sse(const OrderedJson& data);  // "data: {...}\n\n"
[[nodiscard]] std::string sse(std::string_view event, const OrderedJson& data);

// Events of `answers`, after waiting until some come; none when the client is gone, in which case
// the answers are cancelled, or when all were taken.
[[nodiscard]] std::vector<AnswerEvent> wait_for_events(std::shared_ptr<Answers>& answers);

// Answers with a stream. What fails at once is answered with its status instead.
void stream_answers(httplib::Response& response, std::shared_ptr<Answers> answers,
                    std::shared_ptr<EventWriter> writer);

}  // namespace hlwq::server
