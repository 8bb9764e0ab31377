#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/byte_range.h"
#include "text/tokenizer_config.h"

namespace hlwq {

struct EncodeOptions {
  bool add_special = true;  // what the file's post_processor adds (often BOS)
  bool parse_added = true;  // text equal to an added token (a control token too) becomes that token
  // Bytes that no added token has a part in, whatever they say: sorted, apart from each other, at
  // character boundaries. The text is cut into pieces as without them.
  std::span<const ByteRange> plain = {};
};

// A byte-level BPE tokenizer from a Hugging Face tokenizer.json. Move-only; const members are safe
// from several threads. Results are those of the Hugging Face library, except where said.
class Tokenizer {
 public:
  // `path`: a folder or a tokenizer.json; the folder's tokenizer_config.json is read if present.
  // Errors: kMissing, kIo, and those of `parse`.
  static Result<Tokenizer> open(const std::string& path);
  // `json`: the content of tokenizer.json; `where` names it in messages.
  // Errors: kBadHeader, kBadLayout, kUnsupported, each naming the field; a token that `config`
  // names must exist (kBadLayout).
  static Result<Tokenizer> parse(std::string_view json, std::string_view where,
                                 const TokenizerConfig& config = {});
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Token ids of `text`. Invalid UTF-8 is read as U+FFFD, one per maximal subpart.
  // Errors: kInvalidArgument above 2 GiB, or for ranges that are not as EncodeOptions says or of
  // text that is not UTF-8; kBadValue when a pattern of the file takes too many
  // steps.
  [[nodiscard]] Result<std::vector<int32_t>> encode(std::string_view text,
                                                    const EncodeOptions& options = {}) const;

  // The text of `ids`: their bytes joined, invalid UTF-8 as U+FFFD (one per maximal subpart). Ids
  // without a token are left out, with `skip_special` special tokens too. Added tokens give their
  // content as it is (the Hugging Face library would take stand-in characters in it for bytes).
  [[nodiscard]] std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  // The bytes of one token, which need not be UTF-8; empty without such a token. Valid while this
  // object lives or is moved.
  [[nodiscard]] std::string_view bytes(int32_t id) const;
  // Largest id + 1; ids may have gaps.
  [[nodiscard]] int32_t vocabulary_size() const;
  // The added token with this content, else the model's token of these bytes.
  [[nodiscard]] std::optional<int32_t> id_of(std::string_view bytes) const;
  [[nodiscard]] bool is_added(int32_t id) const;
  [[nodiscard]] bool is_special(int32_t id) const;

  // From tokenizer_config.json.
  [[nodiscard]] std::optional<int32_t> bos() const;
  [[nodiscard]] std::optional<int32_t> eos() const;
  [[nodiscard]] std::optional<int32_t> unk() const;
  [[nodiscard]] const std::optional<std::string>& chat_template() const;

 private:
  struct State;
  struct Scratch;
  class Lease;
  explicit Tokenizer(std::unique_ptr<State> state);
  [[nodiscard]] Status encode_stretch(std::string_view text, Scratch& scratch,
                                      std::vector<int32_t>& ids) const;
  [[nodiscard]] Status encode_with_added(std::string_view text, std::span<const ByteRange> plain,
                                         Scratch& scratch, std::vector<int32_t>& ids) const;
  void encode_piece(std::string_view piece, Scratch& scratch, std::vector<int32_t>& ids) const;
  void merge_piece(std::string_view piece, Scratch& scratch, std::vector<int32_t>& ids) const;

  std::unique_ptr<State> state_;
};

}  // namespace hlwq
