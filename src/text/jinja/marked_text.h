#pragma once
// Text that remembers which of its bytes came from outside. A chat template joins its own words,
// among them control tokens, with those of the conversation, and only the former may become
// control tokens; so every operation on text carries the marks along.

#include <string>
#include <string_view>
#include <vector>

#include "text/byte_range.h"

namespace hlwq::jinja {

enum class Origin {
  kTemplate,  // trusted
  kData,      // the conversation's
};

class MarkedText {
 public:
  MarkedText() = default;
  MarkedText(std::string_view bytes, Origin origin) { append(bytes, origin); }

  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  // Sorted, not empty, apart from each other.
  [[nodiscard]] const std::vector<ByteRange>& data() const { return data_; }
  [[nodiscard]] size_t size() const { return bytes_.size(); }
  [[nodiscard]] bool has_data() const { return !data_.empty(); }
  // kData if any byte is.
  [[nodiscard]] Origin origin() const { return has_data() ? Origin::kData : Origin::kTemplate; }
  // Of the byte at `at`.
  [[nodiscard]] Origin origin_at(size_t at) const;
  // What this object takes in memory, about.
  [[nodiscard]] size_t held_bytes() const {
    return bytes_.size() + data_.size() * sizeof(ByteRange);
  }

  void append(std::string_view bytes, Origin origin);
  void append(const MarkedText& text) { append(text, 0, text.size()); }
  // Bytes [begin, end) of `text`, which is another object.
  void append(const MarkedText& text, size_t begin, size_t end);
  [[nodiscard]] MarkedText slice(size_t begin, size_t end) const;

 private:
  void mark(ByteRange range);

  std::string bytes_;
  std::vector<ByteRange> data_;
};

}  // namespace hlwq::jinja
