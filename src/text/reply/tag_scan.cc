#include "text/reply/tag_scan.h"

#include <utility>

namespace hlwq {

void TagSplitter::add_space(char c, std::string& text) {
  space_ += c;
  if (space_.size() <= most_space_) return;
  text += space_.front();
  space_.erase(0, 1);
}

bool TagSplitter::push(char c, std::string& text) {
  if (!begun_.empty()) {
    if (c == tag_[begun_.size()]) {
      begun_ += c;
      return begun_.size() == tag_.size();
    }
    text += held();
    clear();
  }
  if (c == tag_.front()) {
    begun_ = c;
  } else if (space_bytes_.find(c) != std::string_view::npos) {
    add_space(c, text);
  } else {
    text += space_;
    text += c;
    space_.clear();
  }
  return false;
}

void TagSplitter::clear() {
  space_.clear();
  begun_.clear();
}

TagExpecter::Step TagExpecter::push(char c, std::span<const std::string_view> tags) {
  read_ += c;
  if (read_.size() == space_bytes_ + 1 && kTagSpace.find(c) != std::string_view::npos)
    return ++space_bytes_ <= kMostTagSpace ? Step::kMore : Step::kOther;
  const std::string_view begun = std::string_view(read_).substr(space_bytes_);
  for (tag_ = 0; tag_ < tags.size(); ++tag_) {
    if (tags[tag_].starts_with(begun))
      return begun.size() == tags[tag_].size() ? Step::kFound : Step::kMore;
  }
  return Step::kOther;
}

std::string TagExpecter::take() {
  std::string read = std::move(read_);
  clear();
  return read;
}

void TagExpecter::clear() {
  read_.clear();
  space_bytes_ = 0;
}

}  // namespace hlwq
