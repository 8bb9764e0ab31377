#pragma once
// The golden vectors, read without src/io so that a fault there does not fail these tests. Trusts
// the file: it is our own.

#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace hlwq {

class Goldens {
 public:
  static const Goldens& get() {
    static const Goldens goldens;
    return goldens;
  }

  [[nodiscard]] bool has(const std::string& name) const { return header_.contains(name); }
  [[nodiscard]] std::vector<int64_t> shape(const std::string& name) const {
    return header_.at(name).at("shape").get<std::vector<int64_t>>();
  }
  // The tensor's bytes as elements of T, whose size must be the dtype's.
  template <typename T>
  [[nodiscard]] std::vector<T> tensor(const std::string& name) const {
    static const std::map<std::string, size_t> kBytes = {{"F64", 8}, {"F32", 4},  {"I32", 4},
                                                         {"F16", 2}, {"BF16", 2}, {"I8", 1},
                                                         {"U8", 1},  {"I64", 8}};
    const auto& entry = header_.at(name);
    if (kBytes.at(entry.at("dtype")) != sizeof(T)) throw std::runtime_error(name + ": dtype");
    const size_t begin = entry.at("data_offsets").at(0), end = entry.at("data_offsets").at(1);
    std::vector<T> values((end - begin) / sizeof(T));
    std::memcpy(values.data(), data_.data() + begin, end - begin);
    return values;
  }
  [[nodiscard]] const nlohmann::json& manifest() const { return manifest_; }

 private:
  Goldens() {
    const std::string folder = std::string(HLWQ_TEST_DATA) + "/hlwq_goldens/";
    const std::string file = read(folder + "hlwq_goldens.safetensors");
    uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, file.data(), 8);
    header_ = nlohmann::json::parse(file.substr(8, header_bytes));
    data_ = file.substr(8 + header_bytes);
    manifest_ = nlohmann::json::parse(read(folder + "manifest.json"));
  }
  static std::string read(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error("cannot read " + path);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }

  nlohmann::json header_, manifest_;
  std::string data_;
};

}  // namespace hlwq
