// The kinds of charts: what lies where, and what is refused.

#include "chart/plot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "chart/bars.h"
#include "chart/font.h"
#include "chart/heat_map.h"
#include "chart/png.h"
#include "chart/svg.h"

namespace hlwq::chart {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <typename T>
std::vector<T> all(const Picture& picture) {
  std::vector<T> found;
  for (const Shape& shape : picture.shapes)
    if (const T* const one = std::get_if<T>(&shape)) found.push_back(*one);
  return found;
}

bool says(const Picture& picture, const std::string& text) {
  const auto texts = all<Text>(picture);
  return std::any_of(texts.begin(), texts.end(), [&](const Text& t) { return t.text == text; });
}

// Every text lies on the canvas, by the widths the font gives.
void expect_texts_inside(const Picture& picture) {
  for (const Text& text : all<Text>(picture)) {
    SCOPED_TRACE(text.text);
    const double width = text_width(text.text, text.size);
    const double begin = text.anchor == Anchor::kStart    ? 0
                         : text.anchor == Anchor::kMiddle ? -width / 2
                                                          : -width;
    if (text.upward) {
      EXPECT_LE(text.at.y - begin, picture.height);
      EXPECT_GE(text.at.y - begin - width, 0);
      EXPECT_GE(text.at.x - text.size, 0);
      EXPECT_LE(text.at.x, picture.width);
    } else {
      EXPECT_GE(text.at.x + begin, 0);
      EXPECT_LE(text.at.x + begin + width, picture.width);
      EXPECT_GE(text.at.y - text.size, 0);
      EXPECT_LE(text.at.y + 0.25 * text.size, picture.height);
    }
  }
}

Series series(std::string label, std::vector<PlotPoint> points) {
  return {.label = std::move(label), .points = std::move(points), .style = style_of(0)};
}

Plot plot(std::vector<Series> of) {
  return {.heading = {.title = "Title", .subtitle = "Subtitle", .source = "Source"},
          .x = {.label = "x", .from_zero = true},
          .y = {.label = "y", .from_zero = true},
          .series = std::move(of)};
}

PlotPoint point(double x, double y) { return {.x = x, .y = y, .low = {}, .high = {}}; }

TEST(Plot, PutsPointsInProportion) {
  const auto picture = draw_plot(plot({series("s", {point(0, 0), point(5, 5), point(10, 10)})}));
  ASSERT_TRUE(picture) << picture.error().message;
  const auto circles = all<Circle>(*picture);
  ASSERT_EQ(circles.size(), 4u);  // three points and the legend's
  const Point a = circles[0].center, b = circles[1].center, c = circles[2].center;
  EXPECT_NEAR(b.x, (a.x + c.x) / 2, 1e-9);
  EXPECT_NEAR(b.y, (a.y + c.y) / 2, 1e-9);
  EXPECT_LT(a.x, c.x);
  EXPECT_GT(a.y, c.y) << "more is higher";
  for (const char* text : {"Title", "Subtitle", "Source", "x", "y", "s", "0", "10"})
    EXPECT_TRUE(says(*picture, text)) << text;
  expect_texts_inside(*picture);
}

TEST(Plot, LogarithmicAxisHoldsErrorBars) {
  Plot chart = plot({series("s", {{.x = 3, .y = 0.1, .low = 0.05, .high = 0.2},
                                  {.x = 5, .y = 0.015, .low = -0.01, .high = 0.02}})});
  chart.x.from_zero = chart.y.from_zero = false;
  chart.y.logarithmic = true;
  const auto picture = draw_plot(chart);
  ASSERT_TRUE(picture) << picture.error().message;
  // A low end below zero goes down to the axis and no further.
  double lowest = 0;
  for (const Polyline& line : all<Polyline>(*picture))
    for (const Point& p : line.points) lowest = std::max(lowest, p.y);
  const auto circles = all<Circle>(*picture);
  EXPECT_GT(lowest, circles[1].center.y + 10);
  EXPECT_LT(lowest, picture->height - 60);
  expect_texts_inside(*picture);
}

TEST(Plot, LongLabelsAndManySeriesStayInside) {
  std::vector<Series> many;
  for (size_t i = 0; i < kMostStyles; ++i) {
    many.push_back(series(std::string(500, 'W') + "<&>", {point(1e17, 1e-9), point(-1e17, 1e18)}));
    many.back().style = style_of(i);
  }
  Plot chart = plot(many);
  chart.heading = {.title = std::string(900, 'T'),
                   .subtitle = std::string(900, 'S'),
                   .source = std::string(900, 'Q')};
  chart.x.label = chart.y.label = std::string(900, 'M');
  const auto picture = draw_plot(chart);
  ASSERT_TRUE(picture) << picture.error().message;
  expect_texts_inside(*picture);
  EXPECT_TRUE(to_png(*picture));
  EXPECT_NE(to_svg(*picture).find("</svg>"), std::string::npos);
}

TEST(Plot, StylesDiffer) {
  for (size_t i = 0; i < kMostStyles; ++i)
    for (size_t j = 0; j < i; ++j) {
      const Style a = style_of(i), b = style_of(j);
      EXPECT_FALSE(a.color == b.color && a.marker == b.marker) << i << ", " << j;
      EXPECT_FALSE(a.color == b.color && a.dash == b.dash) << i << ", " << j;
    }
}

TEST(Plot, OnePointIsEnough) {
  for (const double value : {0.0, 1e-15, 7.0, -3.0, 1e18}) {
    const auto picture = draw_plot(plot({series("s", {point(value, value)})}));
    ASSERT_TRUE(picture) << value << ": " << picture.error().message;
    expect_texts_inside(*picture);
    for (const Circle& circle : all<Circle>(*picture)) {
      EXPECT_TRUE(std::isfinite(circle.center.x) && std::isfinite(circle.center.y));
    }
  }
}

TEST(Plot, RefusesWhatCannotBeDrawn) {
  const auto refused = [](const Plot& chart, const std::string& word) {
    const auto picture = draw_plot(chart);
    ASSERT_FALSE(picture) << word;
    EXPECT_EQ(picture.error().code, ErrorCode::kBadValue);
    EXPECT_NE(picture.error().message.find(word), std::string::npos) << picture.error().message;
  };
  refused(plot({}), "0 points");
  refused(plot({series("s", {})}), "0 points");
  refused(plot({series("s", {point(kNan, 1)})}), "x of s");
  refused(plot({series("s", {point(1, kInfinity)})}), "y of s");
  refused(plot({series("s", {point(1, -2e18)})}), "y of s");
  refused(plot({series("s", {{.x = 1, .y = 1, .low = kNan, .high = 2}})}), "y of s");
  refused(plot(std::vector<Series>(kMostStyles + 1, series("s", {point(1, 1)}))), "15 series");
  refused(plot({series("s", std::vector<PlotPoint>(kMostPoints + 1, point(1, 1)))}), "20001");
  Plot logarithmic = plot({series("s", {point(1, 0)})});
  logarithmic.y.logarithmic = true;
  refused(logarithmic, "more than 0");
}

BarChart bars(std::vector<double> values) {
  BarChart chart{.heading = {.title = "T", .subtitle = "S", .source = "Q"},
                 .axis = "GB",
                 .groups = {{.label = "model", .bars = {}}}};
  for (const double value : values)
    chart.groups[0].bars.push_back(
        {.label = "bar", .value = value, .value_text = "v", .color = kQuiet});
  return chart;
}

TEST(Bars, AreAsLongAsTheirValues) {
  const auto picture = draw_bars(bars({10, 5, 0}));
  ASSERT_TRUE(picture) << picture.error().message;
  const auto drawn = all<Rectangle>(*picture);
  ASSERT_EQ(drawn.size(), 3u);
  EXPECT_NEAR(drawn[1].width, drawn[0].width / 2, 1e-9);
  EXPECT_EQ(drawn[2].width, 0);
  EXPECT_EQ(drawn[0].x, drawn[1].x);
  expect_texts_inside(*picture);
}

TEST(Bars, Limits) {
  EXPECT_TRUE(draw_bars(bars({0})));
  for (const double value : {-1.0, kNan, kInfinity, 2e18}) EXPECT_FALSE(draw_bars(bars({value})));
  EXPECT_FALSE(draw_bars(bars({})));
  EXPECT_FALSE(draw_bars(bars(std::vector<double>(kMostBars + 1, 1))));
  BarChart tall = bars({});
  tall.groups.assign(kMostBars, {.label = std::string(300, 'W'),
                                 .bars = {{.label = std::string(300, 'W'),
                                           .value = 1e18,
                                           .value_text = std::string(300, 'W'),
                                           .color = kQuiet}}});
  const auto picture = draw_bars(tall);
  ASSERT_TRUE(picture);
  expect_texts_inside(*picture);
  EXPECT_TRUE(to_png(*picture)) << "the highest picture fits the rasterizer";
}

HeatMap heat(int64_t rows, int64_t columns, std::vector<double> values) {
  return {.heading = {.title = "T", .subtitle = "S", .source = "Q"},
          .x = "expert",
          .y = "layer",
          .scale = "times",
          .rows = rows,
          .columns = columns,
          .values = std::move(values)};
}

// Brightness: more is lighter, for every eye.
int light(const Color& color) { return color.red + color.green + color.blue; }

TEST(HeatMap, MoreIsLighter) {
  const auto picture = draw_heat_map(heat(2, 3, {0, 1, 2, 3, 3, 4}));
  ASSERT_TRUE(picture) << picture.error().message;
  const auto cells = all<Rectangle>(*picture);
  ASSERT_EQ(cells.size(), 5u + 12);  // two neighbors are one; the scale has 12 steps
  for (size_t i = 1; i < 5; ++i) EXPECT_GT(light(cells[i].fill), light(cells[i - 1].fill));
  EXPECT_NEAR(cells[3].width, 2 * cells[0].width, 1e-9);
  EXPECT_GT(cells[3].y, cells[0].y);
  expect_texts_inside(*picture);
}

TEST(HeatMap, Limits) {
  EXPECT_TRUE(draw_heat_map(heat(1, 1, {0})));
  EXPECT_TRUE(draw_heat_map(heat(1, 1, {1e18})));
  EXPECT_FALSE(draw_heat_map(heat(0, 0, {})));
  EXPECT_FALSE(draw_heat_map(heat(2, 2, {1, 2, 3})));
  for (const double value : {-1.0, kNan, kInfinity, 2e18})
    EXPECT_FALSE(draw_heat_map(heat(1, 2, {1, value})));
  EXPECT_FALSE(draw_heat_map(heat(kMostRows + 1, 1, std::vector<double>(kMostRows + 1))));
  std::vector<double> large(static_cast<size_t>(kMostRows * 512));
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<double>(i * 7919 % 101);
  const auto picture = draw_heat_map(heat(kMostRows, 512, large));
  ASSERT_TRUE(picture);
  expect_texts_inside(*picture);
  EXPECT_TRUE(to_png(*picture));
}

}  // namespace
}  // namespace hlwq::chart
