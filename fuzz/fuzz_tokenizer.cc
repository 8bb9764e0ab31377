// Any text as tokenizer.json: a refusal, or a tokenizer whose ids decode and stream to one text.
// A file that stands alone rarely gets past the vocabulary, so the input is also laid over a valid
// small document as a JSON merge patch.
// Links: hlwq::text

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "io/json.h"
#include "text/byte_level.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace {

const hlwq::Json& small_document() {
  static const hlwq::Json document = [] {
    hlwq::Json vocab = hlwq::Json::object();
    for (int byte = 0; byte < 256; ++byte) {
      vocab[hlwq::to_stand_ins(std::string(1, static_cast<char>(byte)))] = byte;
    }
    vocab["ab"] = 256;
    vocab["abc"] = 257;
    return hlwq::Json{{"added_tokens", {{{"id", 300}, {"content", "<s>"}, {"special", true}}}},
                      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
                      {"decoder", {{"type", "ByteLevel"}}},
                      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b", "ab c"}}}}};
  }();
  return document;
}

void check(std::string_view json, std::string_view text) {
  const hlwq::Result<hlwq::Tokenizer> tokenizer = hlwq::Tokenizer::parse(json, "input");
  if (!tokenizer) {
    if (!hlwq::is_utf8(tokenizer.error().message)) std::abort();
    return;
  }
  for (const bool parse_added : {false, true}) {
    const auto ids =
        tokenizer->encode(text, {.add_special = parse_added, .parse_added = parse_added});
    if (!ids) continue;
    const std::string decoded = tokenizer->decode(*ids);
    if (!hlwq::is_utf8(decoded)) std::abort();
    hlwq::StreamDecoder stream(*tokenizer);
    std::string streamed;
    for (const int32_t id : *ids) streamed += stream.push(id);
    if (streamed + stream.finish() != decoded) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  const std::string_view input(reinterpret_cast<const char*>(data), bytes);
  // The input is also what gets encoded, so that the fuzzer can make them meet.
  const std::string_view text = input.substr(0, 64);
  check(input, text);
  if (const hlwq::Result<hlwq::Json> patch = hlwq::parse_json(input, "patch")) {
    hlwq::Json document = small_document();
    document.merge_patch(*patch);
    check(document.dump(-1, ' ', false, hlwq::Json::error_handler_t::replace), text);
  }
  return 0;
}
