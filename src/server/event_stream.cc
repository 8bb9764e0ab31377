#include "server/event_stream.h"

#include <chrono>
#include <utility>

#include "server/api_error.h"
#include "server/http_server.h"

namespace hlwq::server {
namespace {

// How often a client that may have left is looked after, and how long the answer's status waits for
// the first event, which may be an error.
constexpr std::chrono::milliseconds kLook{100};
constexpr std::chrono::milliseconds kFirst{1000};
// A comment in a quiet stream, so that nothing between here and the client gives it up.
constexpr std::chrono::seconds kQuiet{10};

// What a stream has between two calls of its provider.
struct Stream {
  std::shared_ptr<Answers> answers;
  std::shared_ptr<EventWriter> writer;
  std::vector<AnswerEvent> first;
  bool begun = false;
  std::chrono::steady_clock::time_point wrote = std::chrono::steady_clock::now();

  // Sends what there is; false when the stream is over.
  bool step(httplib::DataSink& sink);
};

bool Stream::step(httplib::DataSink& sink) {
  std::string out;
  if (!std::exchange(begun, true)) out += writer->begin();
  std::vector<AnswerEvent> events = std::exchange(first, {});
  if (events.empty()) events = answers->take(kLook);
  bool is_over = false;
  for (const AnswerEvent& event : events) {
    if (event.ended && !*event.ended) {
      out += writer->on_error(event.ended->error());
      is_over = true;
      break;
    }
    out += writer->on(event);
  }
  if (!is_over && answers->all_taken()) {
    out += writer->end();
    is_over = true;
  }
  const auto now = std::chrono::steady_clock::now();
  if (out.empty() && now - wrote >= kQuiet) out = ": still there\n\n";
  if (!out.empty()) {
    if (!sink.write(out.data(), out.size())) return false;
    wrote = now;
  } else if (HttpServer::current().peer_is_gone()) {
    return false;
  }
  if (is_over) sink.done();
  return true;
}

}  // namespace

std::string sse(const OrderedJson& data) { return "data: " + dump(data) + "\n\n"; }

std::string sse(std::string_view event, const OrderedJson& data) {
  return "event: " + std::string(event) + "\n" + sse(data);
}

std::vector<AnswerEvent> wait_for_events(std::shared_ptr<Answers>& answers) {
  while (!answers->all_taken() && !HttpServer::current().peer_is_gone()) {
    std::vector<AnswerEvent> events = answers->take(kLook);
    if (!events.empty()) return events;
  }
  return {};
}

void stream_answers(httplib::Response& response, std::shared_ptr<Answers> answers,
                    std::shared_ptr<EventWriter> writer) {
  auto stream = std::make_shared<Stream>();
  stream->first = answers->take(kFirst);
  for (const AnswerEvent& event : stream->first)
    if (event.ended && !*event.ended) return answer_error(response, event.ended->error());
  stream->answers = std::move(answers);
  stream->writer = std::move(writer);
  response.status = 200;
  response.set_header("Cache-Control", "no-cache");
  response.set_header("X-Accel-Buffering", "no");  // proxies are to pass pieces on
  response.set_chunked_content_provider(
      "text/event-stream",
      [stream](size_t, httplib::DataSink& sink) { return stream->step(sink); });
}

}  // namespace hlwq::server
