#include "chart/font.h"

#include <stb/stb_truetype.h>

#include "base/check.h"
#include "base/utf8.h"
#include "chart/font_file.h"

namespace hlwq::chart {
namespace {

const stbtt_fontinfo& font() {
  static const stbtt_fontinfo info = [] {
    stbtt_fontinfo opened;
    const std::string_view bytes = font_files().front().bytes;
    HLWQ_CHECK(stbtt_InitFont(&opened, reinterpret_cast<const unsigned char*>(bytes.data()), 0) !=
               0);
    return opened;
  }();
  return info;
}

// Calls visit(glyph, pen, bytes) for each character, the pen in font units.
template <typename Visit>
int walk(std::string_view text, Visit&& visit) {
  int pen = 0;
  while (!text.empty()) {
    const Utf8Step step = step_utf8(text);
    const int glyph = stbtt_FindGlyphIndex(&font(), static_cast<int>(step.code_point));
    int advance = 0, bearing = 0;
    stbtt_GetGlyphHMetrics(&font(), glyph, &advance, &bearing);
    visit(glyph, pen, pen + advance, step.bytes);
    pen += advance;
    text.remove_prefix(static_cast<size_t>(step.bytes));
  }
  return pen;
}

double scale_of(double size) {
  return stbtt_ScaleForMappingEmToPixels(&font(), static_cast<float>(size));
}

}  // namespace

double text_width(std::string_view text, double size) {
  return scale_of(size) * walk(text, [](int, int, int, int) {});
}

std::string fit_text(std::string_view text, double size, double most_width) {
  if (text_width(text, size) <= most_width) return std::string(text);
  constexpr std::string_view kEllipsis = "…";
  const double room = (most_width - text_width(kEllipsis, size)) / scale_of(size);
  size_t kept = 0, at = 0;
  walk(text, [&](int, int, int end, int bytes) {
    at += static_cast<size_t>(bytes);
    if (end <= room) kept = at;
  });
  return std::string(text.substr(0, kept)).append(kEllipsis);
}

std::vector<PlacedGlyph> lay_out(std::string_view text, double size) {
  const double scale = scale_of(size);
  std::vector<PlacedGlyph> glyphs;
  walk(text, [&](int glyph, int pen, int, int) {
    PlacedGlyph placed{.x = scale * pen, .outline = {}};
    stbtt_vertex* vertices = nullptr;
    const int count = stbtt_GetGlyphShape(&font(), glyph, &vertices);
    for (int i = 0; i < count; ++i) {
      const stbtt_vertex& v = vertices[i];
      placed.outline.push_back({.kind = v.type == STBTT_vmove   ? OutlineStep::Kind::kMove
                                        : v.type == STBTT_vline ? OutlineStep::Kind::kLine
                                                                : OutlineStep::Kind::kCurve,
                                .to = {scale * v.x, -scale * v.y},
                                .control = {scale * v.cx, -scale * v.cy}});
    }
    stbtt_FreeShape(&font(), vertices);
    glyphs.push_back(std::move(placed));
  });
  return glyphs;
}

}  // namespace hlwq::chart
