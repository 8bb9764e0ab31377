#include "text/tokenizer_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/check.h"
#include "io/json.h"
#include "io/printable.h"
#include "text/byte_level.h"
#include "text/json_fields.h"

namespace hlwq {
namespace {

Result<const Json*> field(const Json& document, const char* key, std::string_view where) {
  return optional_member(document, key, fmt::format("{}: document", where));
}

// Whether the normalizer is NFC; null and empty sequences do nothing.
Result<bool> parse_normalizer(const Json* json, const std::string& place) {
  if (json == nullptr) return false;
  HLWQ_TRY_ASSIGN(const std::string type, string_member(*json, "type", place));
  if (type == "NFC") return true;
  if (type != "Sequence") {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{}: type {} is not supported (NFC and Sequence are)", place, printable(type)));
  }
  HLWQ_TRY_ASSIGN(const Json* list, array_member(*json, "normalizers", place));
  bool nfc = false;
  for (size_t i = 0; i < list->size(); ++i) {
    HLWQ_TRY_ASSIGN(const bool step,
                    parse_normalizer(&(*list)[i], fmt::format("{}.normalizers[{}]", place, i)));
    nfc = nfc || step;
  }
  return nfc;
}

// ByteLevel, alone or alone in a Sequence.
Status check_decoder(const Json& json, const std::string& place) {
  HLWQ_TRY_ASSIGN(const std::string type, string_member(json, "type", place));
  if (type == "ByteLevel") return {};
  if (type == "Sequence") {
    HLWQ_TRY_ASSIGN(const Json* list, array_member(json, "decoders", place));
    if (list->size() == 1) return check_decoder(list->front(), place + ".decoders[0]");
  }
  return fail(ErrorCode::kUnsupported,
              fmt::format("{}: {} is not supported (one ByteLevel is)", place, printable(type)));
}

// Refuses what would make the model something else than plain BPE.
Status check_model(const Json& model, const std::string& place) {
  const auto refuse = [&](const char* key, const Json& value) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}.{}: {} is not supported", place, key, printable(value.dump())));
  };
  HLWQ_TRY_ASSIGN(const Json* type, optional_member(model, "type", place));
  if (type != nullptr && *type != "BPE") return refuse("type", *type);
  HLWQ_TRY_ASSIGN(const Json* dropout, optional_member(model, "dropout", place));
  if (dropout != nullptr && *dropout != 0) return refuse("dropout", *dropout);
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    HLWQ_TRY_ASSIGN(const Json* value, optional_member(model, key, place));
    if (value != nullptr && *value != "") return refuse(key, *value);
  }
  HLWQ_TRY_ASSIGN(const Json* fallback, optional_member(model, "byte_fallback", place));
  if (fallback != nullptr && *fallback != false) return refuse("byte_fallback", *fallback);
  return {};
}

Result<std::vector<AddedToken>> parse_added(const Json* list, std::string_view where) {
  std::vector<AddedToken> tokens;
  if (list == nullptr) return tokens;
  if (!list->is_array()) {
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: added_tokens: got {}, want an array", where, list->type_name()));
  }
  for (size_t i = 0; i < list->size(); ++i) {
    const Json& item = (*list)[i];
    const std::string place = fmt::format("{}: added_tokens[{}]", where, i);
    AddedToken token;
    HLWQ_TRY_ASSIGN(token.content, string_member(item, "content", place));
    HLWQ_TRY_ASSIGN(const Json* id, optional_member(item, "id", place));
    if (id == nullptr) return fail(ErrorCode::kBadHeader, fmt::format("{}: has no id", place));
    HLWQ_TRY_ASSIGN(token.id, token_id(*id, place + ".id"));
    HLWQ_TRY_ASSIGN(token.single_word, bool_member(item, "single_word", false, place));
    HLWQ_TRY_ASSIGN(token.lstrip, bool_member(item, "lstrip", false, place));
    HLWQ_TRY_ASSIGN(token.rstrip, bool_member(item, "rstrip", false, place));
    HLWQ_TRY_ASSIGN(token.special, bool_member(item, "special", false, place));
    HLWQ_TRY_ASSIGN(token.normalized, bool_member(item, "normalized", !token.special, place));
    if (token.content.empty() || token.content.size() > AddedTokenMatcher::kMostContentBytes) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("{}.content: {} bytes, want 1 to {}", place, token.content.size(),
                              AddedTokenMatcher::kMostContentBytes));
    }
    tokens.push_back(std::move(token));
  }
  std::sort(tokens.begin(), tokens.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return tokens;
}

// Model vocabulary and added tokens together. A token of the model whose characters are not all
// stand-ins decodes to its own text and is never merged from bytes.
Result<Vocabulary> parse_vocabulary(const Json& vocab, const std::vector<AddedToken>& added,
                                    std::string_view where) {
  const std::string place = fmt::format("{}: model.vocab", where);
  struct Entry {
    const std::string* content;
    int32_t id;
  };
  std::vector<Entry> entries;
  entries.reserve(vocab.size());
  size_t total_bytes = 0;
  for (const auto& [content, value] : vocab.items()) {
    const Result<int32_t> id = token_id(value, place);
    if (!id) {
      return fail(id.error().code,
                  fmt::format("{} (of \"{}\")", id.error().message, printable(content)));
    }
    entries.push_back({&content, *id});
    total_bytes += content.size();
  }
  // Ids that are near in use are then near in memory.
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.id < b.id; });
  int32_t last_id = entries.empty() ? -1 : entries.back().id;
  for (const AddedToken& token : added) {
    last_id = std::max(last_id, token.id);
    total_bytes += token.content.size();
  }
  if (total_bytes > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return fail(ErrorCode::kUnsupported, fmt::format("{}: more than 2 GiB of tokens", place));
  }
  Vocabulary vocabulary(last_id + 1, total_bytes);
  std::unordered_set<std::string_view> contents;
  for (const AddedToken& token : added) {
    const auto in_model = vocab.find(token.content);
    if (in_model != vocab.end() && *in_model != token.id) {
      return fail(ErrorCode::kBadLayout,
                  fmt::format("{}: added_tokens: \"{}\" has id {}, in model.vocab {}", where,
                              printable(token.content), token.id, in_model->dump()));
    }
    if (!contents.insert(token.content).second || !vocabulary.add(token.id, token.content)) {
      return fail(ErrorCode::kBadLayout,
                  fmt::format("{}: added_tokens: id {} or content \"{}\" occurs twice", where,
                              token.id, printable(token.content)));
    }
  }
  for (const auto& [name, id] : entries) {
    const std::string& content = *name;
    const std::optional<std::string> bytes = from_stand_ins(content);
    if (!contents.contains(content) && !vocabulary.add(id, bytes ? *bytes : content)) {
      return fail(ErrorCode::kBadLayout,
                  fmt::format("{}: \"{}\": id {} occurs twice", place, printable(content), id));
    }
    // Never fails: different names of stand-ins are different bytes.
    if (bytes && *bytes == vocabulary.bytes(id)) HLWQ_CHECK(vocabulary.make_findable(id));
  }
  return vocabulary;
}

bool occurs_in_utf8(int byte) { return byte != 0xC0 && byte != 0xC1 && byte <= 0xF4; }

// Bytes without which a vocabulary still is one of bytes: those that never occur in UTF-8, and
// those that a trainer may not have met: control characters but white space, and the first bytes of
// code points from U+40000 on, where there are no characters but tags and private ones.
bool may_lack(int byte) {
  const bool space = byte == '\t' || byte == '\n' || byte == '\r';
  return (byte < 0x20 && !space) || byte == 0x7F || byte >= 0xF1 || !occurs_in_utf8(byte);
}

// `has_unknown`: what has no token becomes an unknown token, which we do not do.
Result<Bpe> make_bpe(const Vocabulary& vocabulary, size_t merges, bool has_unknown,
                     std::string_view where) {
  std::array<int32_t, 256> byte_ids{};
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const std::optional<int32_t> id = vocabulary.find({&c, 1});
    if (!id && (has_unknown ? occurs_in_utf8(byte) : !may_lack(byte))) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("{}: model.vocab: no token for byte 0x{:02X}; only byte-level "
                              "vocabularies are supported",
                              where, byte));
    }
    byte_ids[static_cast<size_t>(byte)] = id.value_or(-1);
  }
  return Bpe(byte_ids, merges);
}

// The two sides of a merge, written "a b" or ["a", "b"], as stand-ins.
std::optional<std::pair<std::string_view, std::string_view>> merge_sides(const Json& merge) {
  if (merge.is_string()) {
    const std::string_view text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
      return std::nullopt;
    }
    return std::pair(text.substr(0, space), text.substr(space + 1));
  }
  if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string()) {
    return std::nullopt;
  }
  return std::pair(std::string_view(merge[0].get_ref<const std::string&>()),
                   std::string_view(merge[1].get_ref<const std::string&>()));
}

Status add_merges(const Json& merges, const Vocabulary& vocabulary, std::string_view where,
                  Bpe& bpe) {
  const auto fail_at = [&](size_t i, ErrorCode code, std::string_view what) {
    return fail(code, fmt::format("{}: model.merges[{}]: {}", where, i, what));
  };
  std::string joined;
  for (size_t i = 0; i < merges.size(); ++i) {
    const auto sides = merge_sides(merges[i]);
    if (!sides) return fail_at(i, ErrorCode::kBadHeader, "want \"a b\" or [\"a\", \"b\"]");
    const std::optional<std::string> left = from_stand_ins(sides->first);
    const std::optional<std::string> right = from_stand_ins(sides->second);
    if (!left || !right) return fail_at(i, ErrorCode::kBadLayout, "not made of byte stand-ins");
    const std::optional<int32_t> left_id = vocabulary.find(*left);
    const std::optional<int32_t> right_id = vocabulary.find(*right);
    joined = *left;
    joined += *right;
    const std::optional<int32_t> merged = vocabulary.find(joined);
    if (!left_id || !right_id || !merged) {
      const std::string_view unknown = !left_id ? *left : !right_id ? *right : joined;
      return fail_at(i, ErrorCode::kBadLayout,
                     fmt::format("\"{}\" is not in model.vocab", printable(to_stand_ins(unknown))));
    }
    bpe.add_merge(*left_id, *right_id, static_cast<uint32_t>(i), *merged);
  }
  return {};
}

}  // namespace

Result<TokenizerParts> parse_tokenizer_json(std::string_view text, std::string_view where) {
  HLWQ_TRY_ASSIGN(const Json document, parse_json(text, where));
  HLWQ_TRY_ASSIGN(const Json* normalizer, field(document, "normalizer", where));
  HLWQ_TRY_ASSIGN(const bool nfc,
                  parse_normalizer(normalizer, fmt::format("{}: normalizer", where)));
  const std::string place = fmt::format("{}: document", where);
  HLWQ_TRY_ASSIGN(const Json* pre_tokenizer, object_member(document, "pre_tokenizer", place));
  HLWQ_TRY_ASSIGN(PreTokenizer splitter, PreTokenizer::from_json(*pre_tokenizer, where));
  HLWQ_TRY_ASSIGN(const Json* decoder, object_member(document, "decoder", place));
  HLWQ_TRY(check_decoder(*decoder, fmt::format("{}: decoder", where)));
  HLWQ_TRY_ASSIGN(const Json* post, field(document, "post_processor", where));
  HLWQ_TRY_ASSIGN(PostProcessor post_processor,
                  PostProcessor::from_json(post == nullptr ? Json() : *post, where));

  HLWQ_TRY_ASSIGN(const Json* model, object_member(document, "model", place));
  const std::string model_place = fmt::format("{}: model", where);
  HLWQ_TRY(check_model(*model, model_place));
  HLWQ_TRY_ASSIGN(const bool ignore_merges,
                  bool_member(*model, "ignore_merges", false, model_place));
  HLWQ_TRY_ASSIGN(const Json* vocab, object_member(*model, "vocab", model_place));
  HLWQ_TRY_ASSIGN(const Json* merges, array_member(*model, "merges", model_place));
  HLWQ_TRY_ASSIGN(const Json* added_list, field(document, "added_tokens", where));
  HLWQ_TRY_ASSIGN(std::vector<AddedToken> added, parse_added(added_list, where));
  HLWQ_TRY_ASSIGN(Vocabulary vocabulary, parse_vocabulary(*vocab, added, where));
  HLWQ_TRY_ASSIGN(const Json* unknown, optional_member(*model, "unk_token", model_place));
  HLWQ_TRY_ASSIGN(Bpe bpe, make_bpe(vocabulary, merges->size(), unknown != nullptr, where));
  HLWQ_TRY(add_merges(*merges, vocabulary, where, bpe));

  for (const auto* ids : {&post_processor.before, &post_processor.after}) {
    for (const int32_t id : *ids) {
      if (vocabulary.contains(id)) continue;
      return fail(ErrorCode::kBadLayout,
                  fmt::format("{}: post_processor: id {} is no token", where, id));
    }
  }
  return TokenizerParts{.vocabulary = std::move(vocabulary),
                        .added = std::move(added),
                        .nfc = nfc,
                        .pre_tokenizer = std::move(splitter),
                        .bpe = std::move(bpe),
                        .ignore_merges = ignore_merges,
                        .post_processor = std::move(post_processor)};
}

}  // namespace hlwq
