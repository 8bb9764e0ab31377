#pragma once
// The one font of pictures, DejaVu Sans: widths of texts and outlines of glyphs.

#include <string>
#include <string_view>
#include <vector>

#include "chart/picture.h"

namespace hlwq::chart {

// Width of `text`, which must be UTF-8, at `size` pixels an em.
[[nodiscard]] double text_width(std::string_view text, double size);

// `text`, or as much of its beginning as leaves room for "…" in `most_width`.
[[nodiscard]] std::string fit_text(std::string_view text, double size, double most_width);

// A closed outline: lines and quadratic curves, in pixels around the pen at (0, 0), y down.
struct OutlineStep {
  enum class Kind { kMove, kLine, kCurve };
  Kind kind = Kind::kMove;
  Point to, control;  // control: of a curve
};
struct PlacedGlyph {
  double x = 0;  // of its pen, from the text's beginning
  std::vector<OutlineStep> outline;
};
[[nodiscard]] std::vector<PlacedGlyph> lay_out(std::string_view text, double size);

}  // namespace hlwq::chart
