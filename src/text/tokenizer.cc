#include "text/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <mutex>
#include <unordered_set>

#include "base/utf8.h"
#include "io/file.h"
#include "io/printable.h"
#include "text/nfc.h"
#include "text/piece_cache.h"
#include "text/tokenizer_json.h"

namespace hlwq {
namespace {

constexpr uint64_t kMostTokenizerBytes = 64u << 20;

// The tokens that are looked for before (`normalized` false) or after normalization, in the form in
// which they occur there.
Result<AddedTokenMatcher> make_matcher(const TokenizerParts& parts, bool normalized,
                                       std::string_view where) {
  std::vector<AddedToken> tokens;
  std::unordered_set<std::string> contents;
  for (AddedToken token : parts.added) {
    if (token.normalized != normalized) continue;
    if (normalized && parts.nfc) {
      HLWQ_TRY_ASSIGN(token.content, to_nfc(token.content));
    }
    if (!contents.insert(token.content).second) {
      return fail(ErrorCode::kBadLayout,
                  fmt::format("{}: added_tokens: \"{}\" (id {}) is the same as another one after "
                              "normalization",
                              where, printable(token.content), token.id));
    }
    tokens.push_back(std::move(token));
  }
  return AddedTokenMatcher(std::move(tokens));
}

// Errors: ranges that encode cannot take.
Status check_plain(std::string_view text, std::span<const ByteRange> plain) {
  const auto starts_character = [&](size_t at) {
    return at == text.size() || (static_cast<uint8_t>(text[at]) & 0xC0) != 0x80;
  };
  size_t end = 0;
  for (const ByteRange& range : plain) {
    const bool is_good = range.begin >= end && range.begin < range.end &&
                         range.end <= text.size() && starts_character(range.begin) &&
                         starts_character(range.end);
    if (!is_good) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("encode: plain bytes {} to {} of {}, after those to {}", range.begin,
                              range.end, text.size(), end));
    }
    end = range.end;
  }
  return {};
}

// The parts of `ranges` in bytes [begin, end), counted from `begin`.
std::vector<ByteRange> ranges_within(std::span<const ByteRange> ranges, size_t begin, size_t end) {
  std::vector<ByteRange> within;
  auto range = std::upper_bound(ranges.begin(), ranges.end(), begin,
                                [](size_t at, const ByteRange& r) { return at < r.end; });
  for (; range != ranges.end() && range->begin < end; ++range)
    within.push_back({std::max(range->begin, begin) - begin, std::min(range->end, end) - begin});
  return within;
}

}  // namespace

// What one call of encode needs for itself. Kept between calls, for the cache's sake.
struct Tokenizer::Scratch {
  PatternScratch pattern;
  BpeScratch bpe;
  PieceCache cache;
};

struct Tokenizer::State {
  TokenizerParts parts;
  AddedTokenMatcher raw_added, normalized_added;
  std::optional<int32_t> bos, eos, unk;
  std::optional<std::string> chat_template;

  // As many as there ever were concurrent calls.
  std::mutex mutex;
  std::vector<std::unique_ptr<Scratch>> idle;  // guarded by mutex

  [[nodiscard]] const AddedToken* find_added(int32_t id) const {
    const auto it =
        std::lower_bound(parts.added.begin(), parts.added.end(), id,
                         [](const AddedToken& t, int32_t value) { return t.id < value; });
    return it == parts.added.end() || it->id != id ? nullptr : &*it;
  }
};

// One call's hold on a scratch.
class Tokenizer::Lease {
 public:
  explicit Lease(State& state) : state_(state) {
    {
      const std::lock_guard lock(state_.mutex);
      if (!state_.idle.empty()) {
        scratch_ = std::move(state_.idle.back());
        state_.idle.pop_back();
      }
    }
    if (!scratch_) scratch_ = std::make_unique<Scratch>();
  }
  ~Lease() {
    const std::lock_guard lock(state_.mutex);
    state_.idle.push_back(std::move(scratch_));
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  [[nodiscard]] Scratch& scratch() { return *scratch_; }

 private:
  State& state_;
  std::unique_ptr<Scratch> scratch_;
};

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::open(const std::string& path) {
  std::error_code ignored;
  const bool is_folder = std::filesystem::is_directory(path, ignored);
  const std::string file = is_folder ? path + "/tokenizer.json" : path;
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string folder = is_folder ? path : parent.empty() ? "." : parent.string();
  HLWQ_TRY_ASSIGN(const std::string json, read_text_file(file, kMostTokenizerBytes));
  HLWQ_TRY_ASSIGN(const TokenizerConfig config, TokenizerConfig::read(folder));
  return parse(json, file, config);
}

Result<Tokenizer> Tokenizer::parse(std::string_view json, std::string_view where,
                                   const TokenizerConfig& config) {
  HLWQ_TRY_ASSIGN(TokenizerParts parts, parse_tokenizer_json(json, where));
  HLWQ_TRY_ASSIGN(AddedTokenMatcher raw_added, make_matcher(parts, false, where));
  HLWQ_TRY_ASSIGN(AddedTokenMatcher normalized_added, make_matcher(parts, true, where));
  Tokenizer tokenizer(
      std::unique_ptr<State>(new State{.parts = std::move(parts),
                                       .raw_added = std::move(raw_added),
                                       .normalized_added = std::move(normalized_added),
                                       .bos = {},
                                       .eos = {},
                                       .unk = {},
                                       .chat_template = config.chat_template,
                                       .mutex = {},
                                       .idle = {}}));
  const auto resolve = [&](const std::optional<std::string>& content, const char* key,
                           std::optional<int32_t>& id) -> Status {
    if (!content) return {};
    id = tokenizer.id_of(*content);
    if (id) return {};
    return fail(ErrorCode::kBadLayout,
                fmt::format("{}: no token \"{}\", which tokenizer_config.json names as {}", where,
                            printable(*content), key));
  };
  HLWQ_TRY(resolve(config.bos_token, "bos_token", tokenizer.state_->bos));
  HLWQ_TRY(resolve(config.eos_token, "eos_token", tokenizer.state_->eos));
  HLWQ_TRY(resolve(config.unk_token, "unk_token", tokenizer.state_->unk));
  return tokenizer;
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text,
                                               const EncodeOptions& options) const {
  if (text.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("encode: text of {} bytes, at most 2 GiB", text.size()));
  }
  std::string replaced;
  if (!is_utf8(text)) {
    if (!options.plain.empty())
      return fail(ErrorCode::kInvalidArgument, "encode: plain bytes in text that is not UTF-8");
    append_replacing_invalid(text, replaced);
    text = replaced;
  }
  HLWQ_TRY(check_plain(text, options.plain));
  const PostProcessor& around = state_->parts.post_processor;
  Lease lease(*state_);
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 4 + 16);
  if (options.add_special) ids.insert(ids.end(), around.before.begin(), around.before.end());
  if (options.parse_added) {
    HLWQ_TRY(encode_with_added(text, options.plain, lease.scratch(), ids));
  } else if (state_->parts.nfc && !is_surely_nfc(text)) {
    HLWQ_TRY_ASSIGN(const std::string normal, to_nfc(text));
    HLWQ_TRY(encode_stretch(normal, lease.scratch(), ids));
  } else {
    HLWQ_TRY(encode_stretch(text, lease.scratch(), ids));
  }
  if (options.add_special) ids.insert(ids.end(), around.after.begin(), around.after.end());
  return ids;
}

Status Tokenizer::encode_with_added(std::string_view text, std::span<const ByteRange> plain,
                                    Scratch& scratch, std::vector<int32_t>& ids) const {
  Status status;
  const auto emit = [&](std::string_view stretch, const AddedToken* token) {
    if (token != nullptr) {
      ids.push_back(token->id);
    } else if (status) {
      status = encode_stretch(stretch, scratch, ids);
    }
  };
  // Stretches between tokens are normalized one by one, as in the Hugging Face library.
  const auto normalize = [&](std::string_view stretch, const AddedToken* token) {
    if (token != nullptr) {
      ids.push_back(token->id);
      return;
    }
    const auto begin = static_cast<size_t>(stretch.data() - text.data());
    const std::vector<ByteRange> within = ranges_within(plain, begin, begin + stretch.size());
    if (!state_->parts.nfc || is_surely_nfc(stretch)) {
      state_->normalized_added.split(stretch, emit, within);
    } else if (const Result<NormalizedRanges> normal = to_nfc(stretch, within)) {
      state_->normalized_added.split(normal->text, emit, normal->ranges);
    } else {
      status = fail(normal.error().code, normal.error().message);
    }
  };
  state_->raw_added.split(text, normalize, plain);
  return status;
}

Status Tokenizer::encode_stretch(std::string_view text, Scratch& scratch,
                                 std::vector<int32_t>& ids) const {
  return state_->parts.pre_tokenizer.split(
      text, scratch.pattern, [&](std::string_view piece) { encode_piece(piece, scratch, ids); });
}

void Tokenizer::encode_piece(std::string_view piece, Scratch& scratch,
                             std::vector<int32_t>& ids) const {
  if (!PieceCache::takes(piece)) return merge_piece(piece, scratch, ids);
  PieceCache::Entry& entry = scratch.cache.slot(piece);
  if (PieceCache::holds(entry, piece)) {
    ids.insert(ids.end(), entry.ids.begin(), entry.ids.begin() + entry.count);
    return;
  }
  const size_t before = ids.size();
  merge_piece(piece, scratch, ids);
  PieceCache::store(entry, piece, std::span(ids).subspan(before));
}

void Tokenizer::merge_piece(std::string_view piece, Scratch& scratch,
                            std::vector<int32_t>& ids) const {
  const TokenizerParts& parts = state_->parts;
  if (parts.ignore_merges) {
    // Not an added token: those come from `parse_added` only.
    const std::optional<int32_t> id = parts.vocabulary.find(piece);
    if (id && state_->find_added(*id) == nullptr) {
      ids.push_back(*id);
      return;
    }
  }
  parts.bpe.encode(piece, scratch.bpe, ids);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string joined;
  for (const int32_t id : ids) {
    if (!skip_special || !is_special(id)) joined += bytes(id);
  }
  if (is_utf8(joined)) return joined;
  std::string text;
  append_replacing_invalid(joined, text);
  return text;
}

std::string_view Tokenizer::bytes(int32_t id) const { return state_->parts.vocabulary.bytes(id); }

int32_t Tokenizer::vocabulary_size() const { return state_->parts.vocabulary.size(); }

std::optional<int32_t> Tokenizer::id_of(std::string_view bytes) const {
  for (const AddedToken& token : state_->parts.added) {
    if (token.content == bytes) return token.id;
  }
  return state_->parts.vocabulary.find(bytes);
}

bool Tokenizer::is_added(int32_t id) const { return state_->find_added(id) != nullptr; }

bool Tokenizer::is_special(int32_t id) const {
  const AddedToken* token = state_->find_added(id);
  return token != nullptr && token->special;
}

std::optional<int32_t> Tokenizer::bos() const { return state_->bos; }
std::optional<int32_t> Tokenizer::eos() const { return state_->eos; }
std::optional<int32_t> Tokenizer::unk() const { return state_->unk; }

const std::optional<std::string>& Tokenizer::chat_template() const { return state_->chat_template; }

}  // namespace hlwq
