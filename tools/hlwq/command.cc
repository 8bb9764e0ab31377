#include "command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/log.h"
#include "progress.h"

namespace hlwq::cli {
namespace {

void print_error(std::string_view message) {
  clear_progress();
  fmt::print(stderr, "hlwq: error: {}\n", message);
}

}  // namespace

int Commands::run() const {
  for (const auto& [command, action] : actions_)
    if (command->parsed()) return action();
  throw_broken_promise(__FILE__, __LINE__, "no command was chosen");
}

int failed(const Error& error) {
  print_error(error.message);
  return kFailed;
}

int bad_usage(std::string_view message) {
  print_error(message);
  return kBadUsage;
}

std::string json_text(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

int print_json(const nlohmann::json& object) {
  print(json_text(object));
  print("\n");
  return finish_output();
}

void print(std::string_view text) {
  clear_progress();
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

int finish_output() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return kDone;
  print_error(fmt::format("standard output: {}", std::strerror(errno)));
  return kFailed;
}

double shortest(float value) {
  if (!std::isfinite(value)) return value;
  std::array<char, 32> text;
  const auto written = std::to_chars(text.data(), text.data() + text.size(), value);
  double number = 0;
  std::from_chars(text.data(), written.ptr, number);
  return number;
}

Result<std::string> read_standard_input() {
  std::string text;
  std::array<char, 65536> part;
  for (;;) {
    const ssize_t got = ::read(STDIN_FILENO, part.data(), part.size());
    if (got == 0) return text;
    if (got > 0) {
      text.append(part.data(), static_cast<size_t>(got));
    } else if (errno != EINTR) {
      return fail(ErrorCode::kIo, fmt::format("standard input: {}", std::strerror(errno)));
    }
  }
}

CLI::Validator in_range(int64_t least, int64_t most) {
  return CLI::Range(least, most).description("");
}

void install_log_sink() {
  set_log_sink([](LogLevel level, std::string_view line) {
    if (level == LogLevel::kDebug) return;
    clear_progress();
    fmt::print(stderr, "hlwq: {}{}\n",
               level == LogLevel::kWarning ? "warning: "
               : level == LogLevel::kError ? "error: "
                                           : "",
               line);
  });
}

}  // namespace hlwq::cli
