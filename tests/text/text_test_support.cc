#include "tests/text/text_test_support.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "text/byte_level.h"

namespace hlwq {

using Json = nlohmann::json;

std::string test_data(const std::string& path) { return std::string(HLWQ_TEST_DATA) + "/" + path; }

Json read_test_json(const std::string& path) {
  std::ifstream file(test_data(path));
  if (!file) throw std::runtime_error("cannot open " + test_data(path));
  return Json::parse(file);
}

std::vector<Json> read_test_lines(const std::string& path) {
  std::ifstream file(test_data(path));
  if (!file) throw std::runtime_error("cannot open " + test_data(path));
  std::vector<Json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(Json::parse(line));
  return lines;
}

Json small_tokenizer_json() {
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocab[to_stand_ins(std::string(1, static_cast<char>(byte)))] = byte;
  }
  vocab["ab"] = 256;
  vocab["abc"] = 257;
  vocab["bc"] = 258;
  vocab["\u0120a"] = 259;
  const auto added = [](int id, const char* content, bool special) {
    return Json{{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                {"rstrip", false}, {"normalized", false}, {"special", special}};
  };
  return {{"added_tokens",
           {added(260, "<s>", true), added(261, "</s>", true), added(262, "<t>", false)}},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model",
           {{"type", "BPE"},
            {"vocab", vocab},
            {"merges", {"a b", "ab c", Json::array({"b", "c"}), "\u0120 a"}}}}};
}

Tokenizer make_tokenizer(const Json& json, const TokenizerConfig& config) {
  auto tokenizer = Tokenizer::parse(json.dump(), "small.json", config);
  if (!tokenizer) throw std::runtime_error(tokenizer.error().message);
  return std::move(*tokenizer);
}

std::vector<int32_t> ids_of(const Tokenizer& tokenizer, std::string_view text,
                            const EncodeOptions& options) {
  auto ids = tokenizer.encode(text, options);
  if (!ids) throw std::runtime_error(ids.error().message);
  return std::move(*ids);
}

}  // namespace hlwq
