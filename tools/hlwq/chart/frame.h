#pragma once
// What every chart has: the canvas, title, subtitle and the line that says where its data is from.
// Colors and markers that are told apart without color vision, and on paper.

#include <string>

#include "chart/picture.h"

namespace hlwq::chart {

inline constexpr double kWidth = 800;      // of a card's column
inline constexpr double kMargin = 24;      // left and right of everything
inline constexpr double kBodyTop = 82;     // below title and subtitle
inline constexpr double kFootHeight = 34;  // of the source line

inline constexpr Color kInk = {0x22, 0x22, 0x22}, kQuiet = {0x59, 0x59, 0x59},
                       kGrid = {0xDD, 0xDD, 0xDD}, kWhite = {0xFF, 0xFF, 0xFF};

struct Heading {
  std::string title, subtitle, source;  // any text
};

// Texts that are too long are cut with "…".
[[nodiscard]] Picture begin_picture(const Heading& heading, double height);
// Appends `text`, cut to `most_width`.
void add_text(Picture& picture, Text text, double most_width);
void add_line(Picture& picture, Point from, Point to, const Stroke& stroke);

enum class Marker { kNone, kCircle, kSquare, kDiamond, kTriangle, kDownTriangle };

struct Style {
  Color color = kInk;
  Marker marker = Marker::kCircle;
  Dash dash = Dash::kSolid;
  bool hollow = false;  // predicted, not measured
};

inline constexpr size_t kMostStyles = 14;
// Styles that differ in color and marker, or in color and dash: Okabe and Ito's colors, without the
// yellow, which a white page hides. number < kMostStyles.
[[nodiscard]] Style style_of(size_t number);

void add_marker(Picture& picture, Point at, const Style& style);

}  // namespace hlwq::chart
