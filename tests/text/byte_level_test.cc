#include "text/byte_level.h"

#include <gtest/gtest.h>

#include <string>

#include "base/utf8.h"

namespace hlwq {
namespace {

TEST(ByteLevel, EveryByteHasItsOwnPrintableStandIn) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  const std::string text = to_stand_ins(all);
  EXPECT_TRUE(is_utf8(text));
  EXPECT_EQ(from_stand_ins(text), all);
  EXPECT_EQ(to_stand_ins(" \n\x7F\xAD"), "\u0120\u010A\u0121\u0143");
  EXPECT_EQ(from_stand_ins("a b"), std::nullopt);     // a space stands for nothing
  EXPECT_EQ(from_stand_ins("\u0144"), std::nullopt);  // one past the last
  EXPECT_EQ(from_stand_ins("\xC4"), std::nullopt);    // half a character
}

}  // namespace
}  // namespace hlwq
