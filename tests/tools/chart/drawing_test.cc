// Axes, text metrics, and the two writers on pictures made by hand.

#include <gtest/gtest.h>

#include <cmath>

#include "base/utf8.h"
#include "chart/axis.h"
#include "chart/font.h"
#include "chart/frame.h"
#include "chart/png.h"
#include "chart/raster.h"
#include "chart/svg.h"

namespace hlwq::chart {
namespace {

std::vector<std::string> labels(const Axis& axis) {
  std::vector<std::string> texts;
  for (const Tick& tick : axis.ticks) texts.push_back(tick.label);
  return texts;
}

TEST(Axis, LinearTicksAreRound) {
  using Texts = std::vector<std::string>;
  EXPECT_EQ(labels(linear_axis(0, 7.5)), (Texts{"0", "2", "4", "6", "8"}));
  EXPECT_EQ(labels(linear_axis(0, 0.3, 3)), (Texts{"0", "0.1", "0.2", "0.3"}));
  EXPECT_EQ(labels(linear_axis(0, 262144)),
            (Texts{"0", "50,000", "100,000", "150,000", "200,000", "250,000", "300,000"}));
  EXPECT_EQ(labels(linear_axis(-3, 3, 3)), (Texts{"-4", "-2", "0", "2", "4"}));
}

TEST(Axis, HoldsItsValuesWhateverTheyAre) {
  for (const double least : {-1e18, -3.7, 0.0, 1e-12, 5.0, 1e17})
    for (const double length : {0.0, 1e-9, 0.3, 77.0, 1e18}) {
      SCOPED_TRACE(testing::Message() << least << " and " << length);
      const Axis axis = linear_axis(least, least + length);
      EXPECT_LE(axis.share(least), 1 + 1e-6);
      EXPECT_GE(axis.share(least), -1e-6);
      EXPECT_LE(axis.share(least + length), 1 + 1e-6);
      EXPECT_GE(axis.ticks.size(), 2u);
      EXPECT_LE(axis.ticks.size(), 14u);
    }
  for (const double least : {1e-30, 3e-7, 1.0, 9.99, 1e17})
    for (const double times : {1.0, 1.01, 3.0, 1e4, 1e30}) {
      SCOPED_TRACE(testing::Message() << least << " to " << times << " times that");
      const Axis axis = log_axis(least, least * times);
      EXPECT_LE(axis.least, least * (1 + 1e-6));
      EXPECT_GE(axis.most, least * times * (1 - 1e-6));
      EXPECT_GT(axis.most, axis.least);
      EXPECT_GE(axis.ticks.size(), 2u);
      EXPECT_LE(axis.ticks.size(), 14u);
    }
}

TEST(Axis, LogarithmicPlaces) {
  const Axis axis = log_axis(0.001, 10);
  EXPECT_DOUBLE_EQ(axis.least, 0.001);
  EXPECT_DOUBLE_EQ(axis.most, 10);
  EXPECT_NEAR(axis.share(0.1), 0.5, 1e-12);
  EXPECT_EQ(labels(axis), (std::vector<std::string>{"0.001", "0.01", "0.1", "1", "10"}));
  EXPECT_EQ(labels(log_axis(0.021, 0.19)).front(), "0.02");
}

TEST(Font, WidthsAddUp) {
  EXPECT_GT(text_width("m", 12), text_width("i", 12));
  EXPECT_NEAR(text_width("abc", 12) + text_width("def", 12), text_width("abcdef", 12), 1e-9);
  EXPECT_NEAR(text_width("abc", 24), 2 * text_width("abc", 12), 1e-6);
  EXPECT_EQ(text_width("", 12), 0);
  // 0.6123 em, by the font's own table.
  EXPECT_NEAR(text_width("a", 1000), 612.8, 0.2);
}

TEST(Font, LongTextIsCut) {
  const std::string text = "a long läbel — with ünicode in it";
  EXPECT_EQ(fit_text(text, 12, 1000), text);
  for (double room = text_width("…", 12); room < text_width(text, 12); room += 3) {
    const std::string cut = fit_text(text, 12, room);
    EXPECT_LE(text_width(cut, 12), room);
    EXPECT_TRUE(cut.ends_with("…"));
    EXPECT_TRUE(is_utf8(cut));
  }
}

TEST(Picture, TextFromOutsideIsMadeFit) {
  EXPECT_EQ(shown_text("a\nb\tc\x7f"), "a b c ");
  EXPECT_EQ(shown_text("\xff\xfe ok"), "\xEF\xBF\xBD\xEF\xBF\xBD ok");
  EXPECT_EQ(shown_text("ab\u202E"
                       "dc\u200B!"),
            "ab dc !")
      << "nothing that turns text around";
  EXPECT_EQ(shown_text("KL · µ 模型"), "KL · µ 模型");
}

Picture small() {
  Picture picture{.width = 40, .height = 20, .title = "<t&\"'>", .description = {}, .shapes = {}};
  return picture;
}

TEST(Svg, EscapesWhatItIsGiven) {
  Picture picture = small();
  add_text(picture, {.at = {1, 10}, .text = "<a&b> \"'", .size = 3}, 40);
  const std::string svg = to_svg(picture);
  EXPECT_NE(svg.find(">&lt;a&amp;b&gt; &quot;&#39;</text>"), std::string::npos) << svg;
  EXPECT_NE(svg.find("<title>&lt;t&amp;&quot;&#39;&gt;</title>"), std::string::npos);
  EXPECT_EQ(svg.find("<a"), std::string::npos);
}

// The color of a pixel, at one pixel a unit.
Color at(const Pixels& pixels, int x, int y) {
  const uint8_t* p = &pixels.rgb[static_cast<size_t>(3 * (y * pixels.width + x))];
  return {p[0], p[1], p[2]};
}

constexpr Color kRed = {0xD5, 0x5E, 0x00}, kBlue = {0x00, 0x72, 0xB2};

TEST(Raster, FillsWhereTheShapesAre) {
  Picture picture = small();
  picture.shapes.push_back(Rectangle{.x = 2, .y = 3, .width = 5, .height = 4, .fill = kRed});
  picture.shapes.push_back(
      Circle{.center = {20, 10}, .radius = 5, .fill = kWhite, .outline = Stroke{kBlue, 2}});
  picture.shapes.push_back(
      Polyline{.points = {{30, 10}, {39, 10}}, .stroke = {.color = kRed, .width = 2}});
  const Pixels pixels = rasterize(picture, 1);
  ASSERT_EQ(pixels.width, 40);
  ASSERT_EQ(pixels.height, 20);
  for (int y = 0; y < 20; ++y)
    for (int x = 0; x < 10; ++x) {
      const bool inside = x >= 2 && x < 7 && y >= 3 && y < 7;
      EXPECT_EQ(at(pixels, x, y), inside ? kRed : kWhite) << x << ", " << y;
    }
  EXPECT_EQ(at(pixels, 20, 10), kWhite) << "the disc's middle";
  EXPECT_EQ(at(pixels, 24, 10), kBlue) << "its outline, 4 to 6 from the center";
  EXPECT_EQ(at(pixels, 15, 10), kBlue);
  EXPECT_EQ(at(pixels, 27, 10), kWhite);
  EXPECT_EQ(at(pixels, 35, 9), kRed);
  EXPECT_EQ(at(pixels, 35, 10), kRed);
  EXPECT_EQ(at(pixels, 35, 7), kWhite);
}

TEST(Raster, CoverageIsShares) {
  Picture picture = small();
  picture.shapes.push_back(Rectangle{.x = 2.5, .y = 3, .width = 2, .height = 2, .fill = {0, 0, 0}});
  const Pixels pixels = rasterize(picture, 1);
  EXPECT_NEAR(at(pixels, 2, 3).red, 127.5, 2);
  EXPECT_EQ(at(pixels, 3, 3).red, 0);
  EXPECT_NEAR(at(pixels, 4, 4).red, 127.5, 2);
}

TEST(Raster, DashesHaveGaps) {
  Picture picture = small();
  picture.shapes.push_back(Polyline{.points = {{0, 5}, {40, 5}},
                                    .stroke = {.color = kBlue, .width = 2, .dash = Dash::kDashed}});
  const Pixels pixels = rasterize(picture, 1);
  for (int x = 0; x < 40; ++x)
    EXPECT_EQ(at(pixels, x, 5), x % 11 < 7 ? kBlue : kWhite) << x;  // 7 of ink, 4 of gap
}

// Ink of a text, and where it is.
struct Ink {
  int count = 0, left = 1000, right = -1, top = 1000, bottom = -1;
};
Ink ink_of(const Pixels& pixels) {
  Ink ink;
  for (int y = 0; y < pixels.height; ++y)
    for (int x = 0; x < pixels.width; ++x) {
      if (at(pixels, x, y).red > 128) continue;
      ++ink.count;
      ink.left = std::min(ink.left, x), ink.right = std::max(ink.right, x);
      ink.top = std::min(ink.top, y), ink.bottom = std::max(ink.bottom, y);
    }
  return ink;
}

TEST(Raster, TextLiesWhereTheMetricsSay) {
  const double width = text_width("HiH", 12);
  for (const Anchor anchor : {Anchor::kStart, Anchor::kMiddle, Anchor::kEnd}) {
    Picture picture{.width = 100, .height = 100, .title = {}, .description = {}, .shapes = {}};
    picture.shapes.push_back(Text{.at = {50, 60}, .text = "HiH", .size = 12, .anchor = anchor});
    const Ink ink = ink_of(rasterize(picture, 1));
    const double left = 50 - (anchor == Anchor::kStart    ? 0
                              : anchor == Anchor::kMiddle ? width / 2
                                                          : width);
    EXPECT_GT(ink.count, 30);
    EXPECT_NEAR(ink.left, left + 1, 1.5);
    EXPECT_NEAR(ink.right, left + width - 2, 1.5);
    EXPECT_NEAR(ink.bottom, 59, 1) << "the baseline";
    EXPECT_NEAR(ink.top, 60 - 0.73 * 12, 1.5) << "a capital's height";

    std::get<Text>(picture.shapes[0]).upward = true;
    const Ink turned = ink_of(rasterize(picture, 1));
    EXPECT_NEAR(turned.bottom, 60 - (left - 50) - 2, 1.5) << "begins below";
    EXPECT_NEAR(turned.right, 49, 1);
    EXPECT_NEAR(turned.count, ink.count, 0.2 * ink.count);
  }
}

TEST(Raster, OutsideTheCanvasNothingHappens) {
  Picture picture = small();
  picture.shapes.push_back(
      Polyline{.points = {{-500, -500}, {900, 5}}, .stroke = {.color = kRed, .width = 3}});
  picture.shapes.push_back(Rectangle{.x = 1e9, .y = 0, .width = 5, .height = 5, .fill = kRed});
  picture.shapes.push_back(Text{.at = {-70, 900}, .text = "far away"});
  EXPECT_EQ(rasterize(picture, 1).rgb.size(), 40u * 20 * 3);
}

TEST(Png, IsTwiceTheSizeAndTheSameEachTime) {
  Picture picture = small();
  picture.shapes.push_back(Rectangle{.x = 2, .y = 3, .width = 5, .height = 4, .fill = kRed});
  const auto png = to_png(picture), again = to_png(picture);
  ASSERT_TRUE(png && again);
  EXPECT_EQ(*png, *again);
  ASSERT_GT(png->size(), 33u);
  EXPECT_EQ(png->substr(0, 8), "\x89PNG\r\n\x1a\n");
  const auto number = [&](size_t offset) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>((*png)[offset + i]);
    return value;
  };
  EXPECT_EQ(number(16), 80u);
  EXPECT_EQ(number(20), 40u);
}

}  // namespace
}  // namespace hlwq::chart
