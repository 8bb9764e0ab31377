#pragma once
// What a model says, taken apart while it comes: reasoning, content, tool calls.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/reply/json_calls.h"
#include "text/reply/tag_scan.h"
#include "text/reply/xml_call.h"
#include "text/tool_format.h"

namespace hlwq {

// What the prompt did about reasoning.
enum class Thinking {
  kOpen,    // ended inside <think>: the reply begins with reasoning, up to </think> or its end
  kFree,    // nothing: a reply that begins with <think> begins with reasoning, as above
  kClosed,  // ended with an empty <think></think>, thinking is off: as kFree, but without </think>
            // all is content
};

// By the prompt's end, white space after it aside.
[[nodiscard]] Thinking thinking_after(std::string_view prompt);

struct ReplyOptions {
  Thinking thinking = Thinking::kFree;
  bool parse_reasoning = true;           // else reasoning and its tags are content, byte for byte
  std::optional<ToolFormat> tools = {};  // look for calls in this format
  std::vector<ToolSpec> specs = {};  // what XML parameters mean; calls of other tools are calls too
  // Give a call's name and arguments while they come (XML only; JSON calls always come whole). Then
  // a call that breaks has no kCallEnd.
  bool stream_arguments = false;
};

struct ReplyEvent {
  enum class Kind {
    kReasoning,      // text
    kContent,        // text
    kCallBegin,      // text: the tool's name
    kCallArguments,  // text: a piece of the arguments, which joined are the text of a JSON object
    kCallEnd,
  };
  Kind kind = Kind::kContent;
  std::string text;
  int index = -1;  // of the call, from 0
  bool operator==(const ReplyEvent&) const = default;
};

// All events, texts of neighbours of one kind and index joined, are the same however the reply was
// cut into pieces. A reply is UTF-8; pieces should not cut characters, else texts do too.
//
// White space. Not given: newlines (\n and \r) after <think> and after </think>; white space (also
// space and \t) before </think> and before a call; after a call, unless content follows. Where the
// prompt ended in <think>\n or like the template's empty thought, the reply's own newlines at the
// beginning count as after <think> (kOpen only). Other content is untouched. Of white space before
// a tag the last 64 bytes go.
//
// Calls. They may come wherever content may, not inside reasoning, at most kMostCalls. A call is
// whole with its </function> or last bracket; its closing tag may be cut or missing. What does not
// become a call (other text where the format wants a tag, JSON that is none, no name, arguments
// that are no object, an empty list, the end of the reply, over kMostCallBytes) is content, with
// the white space before it; what stream_arguments gave before stays given, and the rest is
// content.
class ReplyParser {
 public:
  static constexpr int kMostCalls = 128;
  static constexpr size_t kMostCallBytes = 1u << 20;     // of a call's text
  static constexpr size_t kMostThoughtBytes = 1u << 20;  // held with Thinking::kClosed

  explicit ReplyParser(ReplyOptions options);
  ReplyParser(ReplyParser&&) = default;  // not copied: a call in progress points into options_
  ReplyParser& operator=(ReplyParser&&) = default;

  // What is certain now. Time is linear in the text, whatever it is and however it is cut.
  [[nodiscard]] std::vector<ReplyEvent> push(std::string_view text);
  // What was held, once no more text follows. Nothing may be pushed afterwards.
  [[nodiscard]] std::vector<ReplyEvent> finish();

 private:
  using Kind = ReplyEvent::Kind;
  enum class State { kStart, kReasoning, kAfterReasoning, kContent, kCall, kAfterCall };

  void on_byte(char c);
  void on_start(char c);
  void on_reasoning(char c);
  void on_content(char c);
  void on_call(char c);
  void on_xml(char c);
  void on_json(char c);
  void on_after_call(char c);

  void give_up_thought();
  void begin_content();
  void begin_call();
  void give_call(std::string_view name);
  void end_call();
  void give_up_call();
  void emit(Kind kind, std::string_view text, int index = -1);

  ReplyOptions options_;
  std::string_view opening_, closing_;  // the format's tags
  State state_ = State::kStart;
  std::vector<ReplyEvent> events_;  // of the current push

  TagExpecter start_;                        // kStart
  TagSplitter thought_;                      // kReasoning
  bool thought_begun_ = false;               // there was more than newlines
  std::optional<std::string> held_thought_;  // until </think> says that it is one
  TagSplitter content_;                      // kContent, when calls are looked for
  bool after_call_ = false;                  // kContent, with nothing but white space so far
  std::optional<XmlCall> xml_;               // kCall: this
  std::optional<JsonCallReader> json_;       // or this
  TagExpecter after_;                        // kAfterCall
  std::string raw_;          // all text of a held thought or a call, with white space before it
  bool call_given_ = false;  // the kCallBegin of the current call was emitted
  int calls_ = 0;            // given
};

}  // namespace hlwq
