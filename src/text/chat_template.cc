#include "text/chat_template.h"

#include <fmt/format.h>

#include "text/jinja/from_json.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/parser.h"

namespace hlwq {
namespace {

constexpr jinja::Limits kLimits;

}  // namespace

ChatTemplate::ChatTemplate(std::string source, std::string where, std::string bos, std::string eos,
                           std::unique_ptr<const jinja::Syntax> syntax)
    : source_(std::move(source)),
      where_(std::move(where)),
      bos_(std::move(bos)),
      eos_(std::move(eos)),
      syntax_(std::move(syntax)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<ChatTemplate> ChatTemplate::compile(std::string_view source, std::string_view where,
                                           std::string bos, std::string eos) {
  HLWQ_TRY_ASSIGN(std::unique_ptr<const jinja::Syntax> syntax,
                  jinja::parse_template(source, where, kLimits));
  return ChatTemplate(std::string(source), std::string(where), std::move(bos), std::move(eos),
                      std::move(syntax));
}

Result<Rendered> ChatTemplate::render(const ChatContext& context) const {
  jinja::Interpreter interpreter(*syntax_, where_, kLimits, context.now);
  jinja::Runtime& runtime = interpreter.runtime();
  if (!context.extra.is_null() && !context.extra.is_object())
    return runtime.complaint("chat_template_kwargs must be an object");
  if (context.extra.is_object()) {
    for (const auto& [name, json] : context.extra.get_ref<const OrderedJson::object_t&>()) {
      if (!interpreter.mentions(name)) continue;
      HLWQ_TRY_ASSIGN(jinja::Value value, jinja::value_from_json(runtime, json));
      interpreter.set(name, std::move(value));
    }
  }
  HLWQ_TRY_ASSIGN(jinja::Value messages, jinja::messages_from_json(runtime, context.messages));
  interpreter.set("messages", std::move(messages));
  // As transformers: None rather than undefined without tools.
  if (interpreter.mentions("tools")) {
    HLWQ_TRY_ASSIGN(jinja::Value tools, jinja::value_from_json(runtime, context.tools));
    interpreter.set("tools", std::move(tools));
  }
  if (!context.extra.is_object() || !context.extra.contains("documents"))
    interpreter.set("documents", jinja::Value());
  interpreter.set("add_generation_prompt", jinja::Value(context.add_generation_prompt));
  if (context.enable_thinking)
    interpreter.set("enable_thinking", jinja::Value(*context.enable_thinking));
  interpreter.set("bos_token", jinja::Value::literal(bos_));
  interpreter.set("eos_token", jinja::Value::literal(eos_));
  HLWQ_TRY_ASSIGN(const jinja::MarkedText text, interpreter.run());
  return Rendered{text.bytes(), text.data()};
}

bool ChatTemplate::uses(std::string_view variable) const {
  const auto name = syntax_->names.find(variable);
  return name != syntax_->names.end() && syntax_->is_read[name->second];
}

Result<std::vector<int32_t>> encode_rendered(const Tokenizer& tokenizer, const Rendered& rendered) {
  return tokenizer.encode(rendered.text,
                          {.add_special = false, .parse_added = true, .plain = rendered.data});
}

}  // namespace hlwq
