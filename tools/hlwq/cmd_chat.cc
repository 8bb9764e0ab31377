// hlwq chat: a conversation in the terminal.

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <iostream>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "api/check_options.h"
#include "commands.h"
#include "option_flags.h"
#include "serving.h"
#include "text/reply/reply_parser.h"

namespace hlwq::cli {
namespace {

constexpr const char* kHelp =
    "/help            this\n"
    "/clear           forget the conversation\n"
    "/retry           answer the last message again\n"
    "/system TEXT     what the model is told first; without TEXT: nothing\n"
    "/think on|off    reasoning before answers, where the model knows it\n"
    "/stats           speed and memory\n"
    "/quit            leave (as Ctrl-D)\n"
    "A line that ends in \\ goes on in the next. Ctrl-C stops an answer.\n";

struct ChatFlags {
  std::string model, system;
  int64_t tokens = 0;
  SamplingOptions sampling;
  ServiceOptions service;
  EngineOptions engine;
};

std::atomic<bool> stop_answer = false;
static_assert(std::atomic<bool>::is_always_lock_free, "signal handlers may only touch such");

class Terminal {
 public:
  Terminal() : talks_(isatty(STDIN_FILENO) == 1), colors_(isatty(STDOUT_FILENO) == 1) {}

  // False at the end of the input.
  bool read(std::string& text) const {
    text.clear();
    for (bool more = true; more;) {
      if (talks_) print(text.empty() ? "\n> " : "  ");
      std::string line;
      if (!std::getline(std::cin, line)) return !text.empty();
      more = line.ends_with('\\');
      if (more) line.back() = '\n';
      text += line;
    }
    return true;
  }
  void dim(bool on) const {
    if (colors_) print(on ? "\033[2m" : "\033[0m");
  }

 private:
  bool talks_, colors_;
};

// The way of an answer from the service's thread to the terminal.
class Answer {
 public:
  bool take(const ServicePiece& piece) {
    const std::lock_guard lock(mutex_);
    text_ += piece.text;
    changed_.notify_one();
    return !stop_answer.load(std::memory_order_relaxed);
  }
  void end(Result<GenerateResult> result) {
    const std::lock_guard lock(mutex_);
    result_ = std::move(result);
    changed_.notify_one();
  }
  // What has come since, after waiting for it; whether more may come.
  bool wait(std::string& text) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !text_.empty() || result_; });
    text = std::exchange(text_, {});
    return !result_;
  }
  [[nodiscard]] const Result<GenerateResult>& result() const { return *result_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
  std::optional<Result<GenerateResult>> result_;
};

class Chat {
 public:
  Chat(Service& service, const ChatFlags& flags)
      : service_(service), flags_(flags), system_(flags.system) {
    clear();
  }

  // Returns false to leave.
  bool obey(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string word = line.substr(0, space);
    const std::string rest = space == std::string::npos ? "" : line.substr(space + 1);
    if (word == "/quit" || word == "/exit") return false;
    if (word == "/clear") {
      clear();
    } else if (word == "/retry") {
      retry();
    } else if (word == "/system") {
      system_ = rest;
      clear();
    } else if (word == "/think" && (rest == "on" || rest == "off")) {
      thinking_ = rest == "on";
    } else if (word == "/stats") {
      print_stats();
    } else {
      print(kHelp);
    }
    return true;
  }

  void say(const std::string& text) {
    messages_.push_back({{"role", "user"}, {"content", text}});
    if (const Status answered = answer(); !answered) {
      messages_.erase(messages_.end() - 1);
      failed(answered.error());
    }
  }

 private:
  void clear() {
    messages_ = nlohmann::ordered_json::array();
    if (!system_.empty()) messages_.push_back({{"role", "system"}, {"content", system_}});
  }

  void retry() {
    if (!messages_.empty() && messages_.back()["role"] == "assistant")
      messages_.erase(messages_.end() - 1);
    if (messages_.empty() || messages_.back()["role"] != "user") return print("nothing was said\n");
    if (const Status answered = answer(); !answered) failed(answered.error());
  }

  void print_stats() const {
    const ServiceStats stats = service_.stats();
    std::string text = fmt::format(
        "last answer: {} prompt tokens ({} known), {:.1f} tok/s; {} generated, {:.1f} tok/s\n",
        last_.prompt_tokens, last_.cached_tokens, last_.prompt_tok_s, last_.generated_tokens,
        last_.decode_tok_s);
    text += fmt::format("KV cache: {} of {} pages; prefix cache: {:.1f} MB\n", stats.kv_pages_used,
                        stats.kv_pages, static_cast<double>(stats.prefix_bytes) / 1e6);
    if (const auto rate = hit_rate(stats.experts))
      text += fmt::format("expert hits: {:.1f} %\n", 100 * *rate);
    if (stats.device_total > 0)
      text += fmt::format("GPU memory: {:.2f} of {:.2f} GB\n",
                          static_cast<double>(stats.device_total - stats.device_free) / 1e9,
                          static_cast<double>(stats.device_total) / 1e9);
    print(text);
  }

  Status answer() {
    const Engine& engine = service_.engine();
    HLWQ_TRY_ASSIGN(ChatPrompt prompt, engine.chat_prompt({.messages = messages_.dump(),
                                                           .enable_thinking = thinking_}));
    const auto coming = std::make_shared<Answer>();
    ServiceRequest request;
    request.ids = std::move(prompt.ids);
    if (flags_.tokens > 0) request.max_tokens = flags_.tokens;
    request.sampling = flags_.sampling;
    request.anchors = std::move(prompt.anchors);
    request.shown_tokens = {"<think>", "</think>"};
    request.on_piece = [coming](const ServicePiece& piece) { return coming->take(piece); };
    request.on_end = [coming](Result<GenerateResult> result) { coming->end(std::move(result)); };
    stop_answer = false;
    HLWQ_TRY(service_.submit(std::move(request)));

    ReplyParser parser({.thinking = thinking_after(prompt.text)});
    std::string reasoning, content, text;
    const auto show = [&](const std::vector<ReplyEvent>& events) {
      for (const ReplyEvent& event : events) {
        const bool thinks = event.kind == ReplyEvent::Kind::kReasoning;
        if (!thinks && content.empty() && !reasoning.empty()) print("\n\n");
        terminal_.dim(thinks);
        print(event.text);
        if (thinks) terminal_.dim(false);
        (thinks ? reasoning : content) += event.text;
      }
    };
    for (bool more = true; more;) {
      more = coming->wait(text);
      show(parser.push(text));
    }
    show(parser.finish());
    print("\n");
    if (!coming->result()) return tl::unexpected(coming->result().error());
    last_ = *coming->result();
    if (last_.finish_reason != "stop") print(fmt::format("[{}]\n", last_.finish_reason));
    nlohmann::ordered_json message = {{"role", "assistant"}, {"content", content}};
    if (!reasoning.empty()) message["reasoning_content"] = reasoning;
    messages_.push_back(std::move(message));
    return {};
  }

  Service& service_;
  const ChatFlags& flags_;
  Terminal terminal_;
  std::string system_;
  std::optional<bool> thinking_;
  nlohmann::ordered_json messages_;
  GenerateResult last_;
};

int run(const ChatFlags& flags) {
  for (const Status& checked :
       {check_options(flags.sampling), check_options(flags.service), check_options(flags.engine)})
    if (!checked) return bad_usage(checked.error().message);
  ServiceOptions options = flags.service;
  if (options.max_batch == 0) options.max_batch = 1;
  auto service = open_service(flags.model, flags.engine, options);
  if (!service) return failed(service.error());
  if (!service->engine().chat_abilities().has_template)
    return failed({ErrorCode::kMissing, flags.model + ": there is no chat template"});
  const Terminal terminal;
  if (isatty(STDIN_FILENO) == 1) print("/help shows the commands\n");
  struct sigaction action = {};
  action.sa_handler = [](int) { stop_answer.store(true, std::memory_order_relaxed); };
  action.sa_flags = SA_RESTART;
  Chat chat(*service, flags);
  for (std::string line; terminal.read(line);) {
    if (line.empty()) continue;
    if (line.front() == '/') {
      if (!chat.obey(line)) break;
      continue;
    }
    // Only while an answer comes: at the prompt Ctrl-C leaves, as everywhere.
    struct sigaction usual = {};
    sigaction(SIGINT, &action, &usual);
    chat.say(line);
    sigaction(SIGINT, &usual, nullptr);
  }
  return finish_output();
}

}  // namespace

void add_chat(CLI::App& app, Commands& commands) {
  CLI::App* const command = app.add_subcommand("chat", "Talk with a model in the terminal");
  const auto flags = std::make_shared<ChatFlags>();
  command->add_option("MODEL", flags->model, "model folder")->required()->type_name("DIR");
  command->add_option("--system", flags->system, "what the model is told first")->type_name("TEXT");
  command->add_option("-n,--max-tokens", flags->tokens, "most tokens of an answer; 0: what fits")
      ->type_name("N")
      ->check(in_range(0, int64_t{1} << 40))
      ->capture_default_str();
  add_flags(*command, flags->sampling, "Sampling");
  add_flags(*command, flags->service, "Requests");
  add_flags(*command, flags->engine, "Engine");
  commands.add(command, [flags] { return run(*flags); });
}

}  // namespace hlwq::cli
