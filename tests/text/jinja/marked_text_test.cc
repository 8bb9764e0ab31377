#include "text/jinja/marked_text.h"

#include <gtest/gtest.h>

#include <random>

#include "text/jinja/find.h"

namespace hlwq::jinja {
namespace {

// One letter a byte: 'd' for data, 't' for the template's.
std::string origins(const MarkedText& text) {
  std::string shown;
  for (size_t i = 0; i < text.size(); ++i) shown += text.origin_at(i) == Origin::kData ? 'd' : 't';
  return shown;
}

TEST(MarkedText, JoinsRangesThatTouch) {
  MarkedText text("ab", Origin::kData);
  text.append("", Origin::kTemplate);
  text.append("cd", Origin::kData);
  text.append("", Origin::kData);
  EXPECT_EQ(text.data(), (std::vector<ByteRange>{{0, 4}}));
  text.append("e", Origin::kTemplate);
  text.append(text.slice(3, 5));
  EXPECT_EQ(text.bytes(), "abcdede");
  EXPECT_EQ(text.data(), (std::vector<ByteRange>{{0, 4}, {5, 6}}));
}

TEST(MarkedText, SlicesLikeItsBytes) {
  const unsigned seed = 20261123;
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    MarkedText text;
    std::string want;
    for (int i = 0; i < 6; ++i) {
      const bool is_data = random() % 2 == 0;
      const size_t bytes = random() % 4;
      text.append(std::string(bytes, 'x'), is_data ? Origin::kData : Origin::kTemplate);
      want += std::string(bytes, is_data ? 'd' : 't');
    }
    ASSERT_EQ(origins(text), want) << "seed " << seed;
    const size_t begin = random() % (want.size() + 1);
    const size_t end = begin + random() % (want.size() - begin + 1);
    ASSERT_EQ(origins(text.slice(begin, end)), want.substr(begin, end - begin)) << "seed " << seed;
  }
}

TEST(Find, LikeStdForShortAndLongNeedles) {
  const unsigned seed = 20261124;
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (unsigned n = random() % 200; n > 0; --n) text += random() % 8 == 0 ? 'b' : 'a';
    const size_t at = random() % (text.size() + 1);
    const size_t from = random() % (text.size() + 1);
    std::string needle = text.substr(at, random() % 60);
    if (random() % 3 == 0) needle += 'b';
    ASSERT_EQ(find_bytes(text, needle, from), text.find(needle, from)) << "seed " << seed;
    const size_t last =
        needle.size() > from ? std::string::npos : text.rfind(needle, from - needle.size());
    ASSERT_EQ(find_last_bytes(text, needle, from), last) << "seed " << seed;
  }
}

}  // namespace
}  // namespace hlwq::jinja
