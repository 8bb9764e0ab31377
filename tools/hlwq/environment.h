#pragma once
// What a measurement ran on, for reports.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace hlwq::cli {

// Texts are empty where the system or the build does not say.
struct Environment {
  std::string version, commit;  // of this program
  std::string cpu;              // the processor's name
  int cpus = 1;                 // that this process may use
  std::string cuda_toolkit;     // it was built with
  std::string nvidia_driver;    // of this machine
};

[[nodiscard]] Environment read_environment();
// Empty texts become null.
[[nodiscard]] nlohmann::json to_json(const Environment& environment);

}  // namespace hlwq::cli
