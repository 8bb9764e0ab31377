#pragma once
// One tool call in the XML form, byte by byte, from after its <tool_call>:
//   <function=NAME> (<parameter=KEY> VALUE </parameter>)* </function>
// with white space allowed around tags. One newline after <parameter=KEY> and one before
// </parameter> frame the value. A </parameter> ends the value only if <parameter= or </function>
// follows, so text about such tags can be a value.

#include <cstddef>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "text/reply/parameter_types.h"
#include "text/reply/tag_scan.h"
#include "text/tool_format.h"

namespace hlwq {

class XmlCall {
 public:
  // kBroken: this cannot become a call. A name or key of more than kMostNameBytes bytes, with '<'
  // or with control characters, and a parameter that is there twice are broken too.
  enum class Step { kMore, kWhole, kBroken };
  static constexpr size_t kMostNameBytes = 256;

  // `specs` must outlive this object.
  explicit XmlCall(std::span<const ToolSpec> specs) : specs_(specs) {}

  Step push(char c);  // not after kWhole or kBroken

  [[nodiscard]] bool has_name() const { return state_ > State::kName; }
  [[nodiscard]] const std::string& name() const { return name_; }
  // The next piece of the arguments' JSON text; all pieces up to kWhole are one object. The text of
  // a string parameter comes as it is certain, other values when they are whole.
  [[nodiscard]] std::string take_arguments();
  // How many of the last bytes are in neither the name nor the pieces yet.
  [[nodiscard]] size_t held_bytes() const { return held_bytes_; }

 private:
  enum class State { kFunctionTag, kName, kBetween, kKey, kValue, kAfterValue };

  Step on_function_tag(char c);
  Step on_name(char c);
  Step on_between(char c);
  Step on_key(char c);
  Step on_value(char c);
  Step on_after_value(char c);
  bool begin_parameter();
  void add_to_value(std::string_view text);
  void end_value();
  void begin_key();
  Step end_arguments();

  std::span<const ToolSpec> specs_;
  State state_ = State::kFunctionTag;
  TagExpecter expecter_;
  TagSplitter splitter_{"</parameter>", "\n", 1};
  std::string name_;
  std::string key_;
  std::set<std::string> keys_;  // so far
  ParameterTypes types_;        // of the current parameter
  bool at_value_begin_ = false;
  std::string value_;  // of the current parameter, unless it can only be a string
  std::string arguments_;
  size_t held_bytes_ = 0;
};

}  // namespace hlwq
