#pragma once
// Tags in text that comes byte by byte, wherever it was cut. Every tag here begins with '<' and has
// no other '<', so a broken match can only go on with the byte that broke it.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace hlwq {

inline constexpr std::string_view kTagSpace = " \t\r\n";
inline constexpr size_t kMostTagSpace = 64;  // bytes of white space held back or skipped at a tag

// Passes text on up to a tag. The last white space and the beginning of the tag are held back, as
// the white space before a tag is not text.
class TagSplitter {
 public:
  // `space`: the bytes that count as white space; at most `most_space` of them are held back.
  TagSplitter(std::string_view tag, std::string_view space, size_t most_space)
      : tag_(tag), space_bytes_(space), most_space_(most_space) {}

  // Appends to `text` what has become certain. True when `c` completed the tag; `held()` is then
  // the white space before it and the tag, and `clear()` must come before the next push.
  bool push(char c, std::string& text);
  [[nodiscard]] std::string held() const { return space_ + begun_; }
  [[nodiscard]] size_t held_bytes() const { return space_.size() + begun_.size(); }
  [[nodiscard]] bool holds_only_space() const { return begun_.empty(); }
  // As new.
  void clear();

 private:
  void add_space(char c, std::string& text);

  std::string_view tag_;
  std::string_view space_bytes_;
  size_t most_space_;
  std::string space_;  // held, directly before begun_
  std::string begun_;  // a beginning of tag_, or all of it
};

// White space and then one of some tags, with nothing else between.
class TagExpecter {
 public:
  enum class Step { kMore, kFound, kOther };

  // After kFound `tag()` is which. After kFound and kOther, `take()` or `clear()` must come before
  // the next push.
  Step push(char c, std::span<const std::string_view> tags);
  [[nodiscard]] size_t tag() const { return tag_; }
  // All that was read, `c` included; then as new.
  [[nodiscard]] std::string take();
  void clear();

 private:
  std::string read_;
  size_t space_bytes_ = 0;  // of read_, at its beginning
  size_t tag_ = 0;
};

}  // namespace hlwq
