#pragma once
// A model's chat template: from a conversation to the prompt's text and its token ids, such that
// nothing in the conversation becomes a control token.

#include <cstdint>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "io/json.h"
#include "text/byte_range.h"
#include "text/tokenizer.h"

namespace hlwq {

namespace jinja {
struct Syntax;
}

// What a template sees; everything here is untrusted.
struct ChatContext {
  OrderedJson messages = OrderedJson::array();  // as in OpenAI's API: role, content, ...
  OrderedJson tools;                            // an array, or null for none
  bool add_generation_prompt = true;
  std::optional<bool> enable_thinking;  // not defined without a value
  // More variables: an object (chat_template_kwargs), or null. They do not replace those above, nor
  // bos_token and eos_token.
  OrderedJson extra;
  std::tm now = {};  // local time, for strftime_now
};

struct Rendered {
  std::string text;
  std::vector<ByteRange> data;  // what came from the context: sorted, apart from each other
};

// A compiled template. Immutable: `render` is safe from several threads.
class ChatTemplate {
 public:
  // `where` begins error messages ("chat template"). `bos` and `eos` are the variables bos_token
  // and eos_token. Errors, all with the line: kBadHeader for what is not a Jinja template,
  // kUnsupported for a tag, filter or test that is not known, kInvalidArgument for one too large.
  static Result<ChatTemplate> compile(std::string_view source, std::string_view where,
                                      std::string bos, std::string eos);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // Errors: kInvalidArgument with the template's own words (raise_exception), for what it does
  // wrong with this conversation, and above the bounds on its work; kUnsupported for what this
  // interpreter lacks.
  [[nodiscard]] Result<Rendered> render(const ChatContext& context) const;

  // Whether the template mentions this variable ("tools", "enable_thinking").
  [[nodiscard]] bool uses(std::string_view variable) const;
  [[nodiscard]] const std::string& source() const { return source_; }

 private:
  ChatTemplate(std::string source, std::string where, std::string bos, std::string eos,
               std::unique_ptr<const jinja::Syntax> syntax);

  std::string source_, where_, bos_, eos_;
  std::unique_ptr<const jinja::Syntax> syntax_;
};

// Ids of a rendered prompt, without what the post-processor adds (templates write BOS themselves).
// Added tokens are found only where the template wrote all of their bytes; apart from these, the
// prompt is cut into pieces as one text. Errors: those of Tokenizer::encode.
[[nodiscard]] Result<std::vector<int32_t>> encode_rendered(const Tokenizer& tokenizer,
                                                           const Rendered& rendered);

}  // namespace hlwq
