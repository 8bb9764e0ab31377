#include "chart/frame.h"

#include <array>

#include "base/check.h"
#include "chart/font.h"

namespace hlwq::chart {
namespace {

// M. Okabe and K. Ito, Color Universal Design, 2008.
constexpr std::array<Color, 7> kColors = {{{0x00, 0x72, 0xB2},
                                           {0xD5, 0x5E, 0x00},
                                           {0x00, 0x9E, 0x73},
                                           {0xCC, 0x79, 0xA7},
                                           {0xE6, 0x9F, 0x00},
                                           {0x56, 0xB4, 0xE9},
                                           {0x00, 0x00, 0x00}}};
constexpr std::array kMarkers = {Marker::kCircle, Marker::kSquare, Marker::kTriangle,
                                 Marker::kDiamond, Marker::kDownTriangle};
constexpr std::array kDashes = {Dash::kSolid, Dash::kDashed, Dash::kDotted, Dash::kDashDotted,
                                Dash::kLongDashed};
constexpr double kMarkerRadius = 4.5;

Polygon corners(Point at, std::initializer_list<Point> from_center, const Color& fill) {
  Polygon polygon{.points = {}, .fill = fill, .outline = std::nullopt};
  for (const Point& p : from_center)
    polygon.points.push_back({at.x + kMarkerRadius * p.x, at.y + kMarkerRadius * p.y});
  return polygon;
}

}  // namespace

Picture begin_picture(const Heading& heading, double height) {
  Picture picture{.width = kWidth,
                  .height = height,
                  .title = shown_text(heading.title),
                  .description = shown_text(heading.subtitle + ". " + heading.source),
                  .shapes = {}};
  const double room = kWidth - 2 * kMargin;
  add_text(picture, {.at = {kMargin, 36}, .text = heading.title, .size = 20, .color = kInk}, room);
  add_text(picture, {.at = {kMargin, 59}, .text = heading.subtitle, .size = 13, .color = kQuiet},
           room);
  add_text(picture,
           {.at = {kMargin, height - 13}, .text = heading.source, .size = 11, .color = kQuiet},
           room);
  return picture;
}

void add_text(Picture& picture, Text text, double most_width) {
  text.text = fit_text(shown_text(text.text), text.size, most_width);
  if (!text.text.empty()) picture.shapes.push_back(std::move(text));
}

void add_line(Picture& picture, Point from, Point to, const Stroke& stroke) {
  picture.shapes.push_back(Polyline{.points = {from, to}, .stroke = stroke});
}

Style style_of(size_t number) {
  HLWQ_CHECK(number < kMostStyles);
  // 7 and 5 share no factor: the pairs come round after 35.
  return {.color = kColors[number % kColors.size()],
          .marker = kMarkers[number % kMarkers.size()],
          .dash = kDashes[number % kDashes.size()]};
}

void add_marker(Picture& picture, Point at, const Style& style) {
  const Color fill = style.hollow ? kWhite : style.color;
  const Stroke outline = {.color = style.color, .width = 1.5};
  const auto add = [&](Polygon polygon) {
    polygon.outline = outline;
    picture.shapes.push_back(std::move(polygon));
  };
  switch (style.marker) {
    case Marker::kNone:
      return;
    case Marker::kCircle:
      picture.shapes.push_back(
          Circle{.center = at, .radius = kMarkerRadius, .fill = fill, .outline = outline});
      return;
    case Marker::kSquare:
      return add(corners(at, {{-0.9, -0.9}, {0.9, -0.9}, {0.9, 0.9}, {-0.9, 0.9}}, fill));
    case Marker::kDiamond:
      return add(corners(at, {{0, -1.25}, {1.25, 0}, {0, 1.25}, {-1.25, 0}}, fill));
    case Marker::kTriangle:
      return add(corners(at, {{0, -1.2}, {1.1, 0.8}, {-1.1, 0.8}}, fill));
    case Marker::kDownTriangle:
      return add(corners(at, {{-1.1, -0.8}, {1.1, -0.8}, {0, 1.2}}, fill));
  }
}

}  // namespace hlwq::chart
