#pragma once
// A tokenizer.json small enough to reason about, and readers of the packed test data.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace hlwq {

std::string test_data(const std::string& path);  // under the unpacked data folder
nlohmann::json read_test_json(const std::string& path);
std::vector<nlohmann::json> read_test_lines(const std::string& path);

// Tokens 0..255: the bytes; 256 "ab", 257 "abc", 258 "bc", 259 " a", with merges a+b, ab+c, b+c,
// space+a in this order; 260 "<s>" and 261 "</s>" special, 262 "<t>" added. ByteLevel with the
// GPT-2 pattern, no prefix space.
nlohmann::json small_tokenizer_json();

// Parses `json` under the name "small.json"; fails the test on an error.
Tokenizer make_tokenizer(const nlohmann::json& json, const TokenizerConfig& config = {});

// Ids of `text`; fails the test on an error.
std::vector<int32_t> ids_of(const Tokenizer& tokenizer, std::string_view text,
                            const EncodeOptions& options = {});

}  // namespace hlwq
