#pragma once
// What every subcommand is made of. A command is one file, cmd_NAME.cc, with one function
// add_NAME(CLI::App&, Commands&) that declares its flags and hands over what to do; commands.h
// lists these functions and main.cc calls them.
//
// The contract: exit 0 done, 1 the work failed, 2 bad usage; with --json exactly one JSON object
// on standard output; everything else, progress and logs included, goes to standard error.

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace CLI {
class App;
class Validator;
}  // namespace CLI

namespace hlwq::cli {

inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kBadUsage = 2;

// The work of a command; returns the exit code.
using Action = std::function<int()>;

class Commands {
 public:
  void add(CLI::App* command, Action action) { actions_.emplace_back(command, std::move(action)); }
  // Runs the command the command line chose.
  [[nodiscard]] int run() const;

 private:
  std::vector<std::pair<CLI::App*, Action>> actions_;
};

// Print "hlwq: error: MESSAGE" on standard error, and return the exit code to leave with.
int failed(const Error& error);
int bad_usage(std::string_view message);

// Prints the object on standard output, a line of its own. Text that is not UTF-8 gets U+FFFD,
// numbers that are not finite become null. Returns kDone, or kFailed when it cannot be written.
int print_json(const nlohmann::json& object);
// JSON as text; what is not UTF-8 becomes U+FFFD.
[[nodiscard]] std::string json_text(const nlohmann::json& json);
// Writes text to standard output at once.
void print(std::string_view text);
// kDone when everything printed so far has reached standard output, else kFailed with a message.
[[nodiscard]] int finish_output();

// The number a float stands for, with as few digits as tell it from its neighbours.
[[nodiscard]] double shortest(float value);

// All of standard input. Errors: kIo.
[[nodiscard]] Result<std::string> read_standard_input();

// A check for whole numbers in [least, most]; the help stays free of it.
[[nodiscard]] CLI::Validator in_range(int64_t least, int64_t most);

// Sends the library's log lines to standard error.
void install_log_sink();

}  // namespace hlwq::cli
