#pragma once
// tokenizer.json of the Hugging Face `tokenizers` library, as far as byte-level BPE needs it.

#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/vocabulary.h"

namespace hlwq {

struct TokenizerParts {
  Vocabulary vocabulary;          // added tokens under their content
  std::vector<AddedToken> added;  // by ascending id
  bool nfc = false;               // normalizer
  PreTokenizer pre_tokenizer;
  Bpe bpe;
  bool ignore_merges = false;  // a piece that is a token is not merged
  PostProcessor post_processor;
};

// Reads and checks the whole document. `where` (a path) starts every message, followed by the
// field. Errors: kBadHeader (JSON, types), kBadLayout (ids twice or out of range, merges of unknown
// tokens, added tokens that contradict the vocabulary), kUnsupported (another model, normalizer,
// pre-tokenizer, post-processor or decoder; dropout, prefixes, suffixes, byte fallback; a
// vocabulary without all bytes of UTF-8).
[[nodiscard]] Result<TokenizerParts> parse_tokenizer_json(std::string_view text,
                                                          std::string_view where);

}  // namespace hlwq
