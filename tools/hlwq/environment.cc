#include "environment.h"

#include <cctype>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/cpu_features.h"
#include "hlwq/engine.h"
#include "hlwq_commit.h"

namespace hlwq::cli {
namespace {

// "model name	: AMD EPYC 9B45 64-Core Processor"
std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "";
}

// The first word that is a version of "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06
// ...".
std::string driver_version() {
  std::ifstream file("/proc/driver/nvidia/version");
  std::string line;
  std::getline(file, line);
  std::istringstream words(line);
  for (std::string word; words >> word;)
    if (std::isdigit(static_cast<unsigned char>(word[0])) && word.find('.') != std::string::npos)
      return word;
  return "";
}

}  // namespace

Environment read_environment() {
  return {.version = std::string(version()),
          .commit = HLWQ_COMMIT,
          .cpu = processor_name(),
          .cpus = usable_cpus(),
          .cuda_toolkit = HLWQ_CUDA_TOOLKIT,
          .nvidia_driver = driver_version()};
}

nlohmann::json to_json(const Environment& environment) {
  const auto or_null = [](const std::string& text) {
    return text.empty() ? nlohmann::json() : nlohmann::json(text);
  };
  return {{"version", environment.version},
          {"commit", or_null(environment.commit)},
          {"cpu", or_null(environment.cpu)},
          {"cpus", environment.cpus},
          {"cuda_toolkit", or_null(environment.cuda_toolkit)},
          {"nvidia_driver", or_null(environment.nvidia_driver)}};
}

}  // namespace hlwq::cli
