#pragma once
// A picture: shapes in the order they are drawn, on a white canvas. Units are CSS pixels, y points
// down. Writers: svg.h, png.h.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace hlwq::chart {

struct Color {
  uint8_t red = 0, green = 0, blue = 0;
  bool operator==(const Color&) const = default;
};

struct Point {
  double x = 0, y = 0;
};

enum class Dash { kSolid, kDashed, kDotted, kDashDotted, kLongDashed };

struct Stroke {
  Color color;
  double width = 1;
  Dash dash = Dash::kSolid;
};
// Lengths of ink and gap in turn; empty for kSolid.
[[nodiscard]] std::vector<double> dash_lengths(Dash dash);

struct Polyline {
  std::vector<Point> points;
  Stroke stroke;
};
struct Polygon {  // that does not cross itself
  std::vector<Point> points;
  Color fill;
  std::optional<Stroke> outline;
};
struct Rectangle {
  double x = 0, y = 0, width = 0, height = 0;
  Color fill;
};
struct Circle {
  Point center;
  double radius = 0;
  Color fill;
  std::optional<Stroke> outline;
};

enum class Anchor { kStart, kMiddle, kEnd };

struct Text {
  Point at;  // on the baseline
  std::string text;
  double size = 12;  // of an em
  Color color = Color();
  Anchor anchor = Anchor::kStart;
  bool upward = false;  // read from bottom to top
};

using Shape = std::variant<Polyline, Polygon, Rectangle, Circle, Text>;

struct Picture {
  double width = 0, height = 0;
  std::string title, description;  // for readers that do not see it
  std::vector<Shape> shapes;
};

// Text from outside, made fit to be shown: one line, UTF-8, without control characters.
[[nodiscard]] std::string shown_text(std::string_view text);

}  // namespace hlwq::chart
