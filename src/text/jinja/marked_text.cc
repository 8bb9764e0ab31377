#include "text/jinja/marked_text.h"

#include <algorithm>

namespace hlwq::jinja {
namespace {

// The first range that ends after `at`.
auto first_after(const std::vector<ByteRange>& ranges, size_t at) {
  return std::upper_bound(ranges.begin(), ranges.end(), at,
                          [](size_t value, const ByteRange& range) { return value < range.end; });
}

}  // namespace

Origin MarkedText::origin_at(size_t at) const {
  const auto range = first_after(data_, at);
  return range != data_.end() && range->begin <= at ? Origin::kData : Origin::kTemplate;
}

void MarkedText::mark(ByteRange range) {
  if (range.begin == range.end) return;
  if (!data_.empty() && data_.back().end == range.begin) {
    data_.back().end = range.end;
  } else {
    data_.push_back(range);
  }
}

void MarkedText::append(std::string_view bytes, Origin origin) {
  if (origin == Origin::kData) mark({bytes_.size(), bytes_.size() + bytes.size()});
  bytes_.append(bytes);
}

void MarkedText::append(const MarkedText& text, size_t begin, size_t end) {
  const size_t at = bytes_.size();
  for (auto range = first_after(text.data_, begin); range != text.data_.end() && range->begin < end;
       ++range) {
    mark({at + std::max(range->begin, begin) - begin, at + std::min(range->end, end) - begin});
  }
  bytes_.append(text.bytes_, begin, end - begin);
}

MarkedText MarkedText::slice(size_t begin, size_t end) const {
  MarkedText part;
  part.append(*this, begin, end);
  return part;
}

}  // namespace hlwq::jinja
