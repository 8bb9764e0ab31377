#include "chart/raster.h"

#include <stb/stb_truetype.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>

#include "base/check.h"
#include "chart/font.h"

namespace hlwq::chart {
namespace {

// stb's vertices are 16-bit integers: sixteenths of a pixel reach to 2047 pixels.
constexpr double kSteps = 16;
constexpr int kMostPixels = 2000;
constexpr float kFlatness = 0.2f;  // pixels a curve may be off

class Rasterizer {
 public:
  Rasterizer(const Picture& picture, double scale)
      : scale_(scale),
        pixels_{.width = static_cast<int>(std::lround(picture.width * scale)),
                .height = static_cast<int>(std::lround(picture.height * scale)),
                .rgb = {}} {
    HLWQ_CHECK(pixels_.width > 0 && pixels_.width <= kMostPixels);
    HLWQ_CHECK(pixels_.height > 0 && pixels_.height <= kMostPixels);
    pixels_.rgb.assign(static_cast<size_t>(pixels_.width) * static_cast<size_t>(pixels_.height) * 3,
                       255);
    for (const Shape& shape : picture.shapes)
      std::visit([this](const auto& drawn) { draw(drawn); }, shape);
  }
  Pixels take() { return std::move(pixels_); }

 private:
  void add(unsigned char type, Point to, Point control = {}) {
    const auto step = [&](double value) {
      return static_cast<stbtt_vertex_type>(
          std::lround(std::clamp(value * scale_, -47.0, kMostPixels + 47.0) * kSteps));
    };
    stbtt_vertex vertex = {};
    vertex.type = type;
    vertex.x = step(to.x);
    vertex.y = step(to.y);
    vertex.cx = step(control.x);
    vertex.cy = step(control.y);
    outline_.push_back(vertex);
  }
  void add_ring(std::span<const Point> points) {
    for (size_t i = 0; i < points.size(); ++i) add(i == 0 ? STBTT_vmove : STBTT_vline, points[i]);
    add(STBTT_vline, points[0]);
  }

  // Fills the outline gathered so far, and forgets it.
  void fill(const Color& color) {
    int left = pixels_.width, right = 0, top = pixels_.height, bottom = 0;
    const auto reach = [&](int x, int y) {
      left = std::min(left, static_cast<int>(std::floor(x / kSteps)));
      right = std::max(right, static_cast<int>(std::ceil(x / kSteps)));
      top = std::min(top, static_cast<int>(std::floor(y / kSteps)));
      bottom = std::max(bottom, static_cast<int>(std::ceil(y / kSteps)));
    };
    for (const stbtt_vertex& vertex : outline_) {
      reach(vertex.x, vertex.y);
      if (vertex.type == STBTT_vcurve) reach(vertex.cx, vertex.cy);
    }
    left = std::max(left, 0), top = std::max(top, 0);
    right = std::min(right, pixels_.width), bottom = std::min(bottom, pixels_.height);
    if (left < right && top < bottom) {
      coverage_.assign(static_cast<size_t>(right - left) * static_cast<size_t>(bottom - top), 0);
      stbtt__bitmap bitmap = {
          .w = right - left, .h = bottom - top, .stride = right - left, .pixels = coverage_.data()};
      const float scale = static_cast<float>(1 / kSteps);
      stbtt_Rasterize(&bitmap, kFlatness, outline_.data(), static_cast<int>(outline_.size()), scale,
                      scale, 0, 0, left, top, 0, nullptr);
      blend(color, left, top, bitmap.w, bitmap.h);
    }
    outline_.clear();
  }

  void blend(const Color& color, int left, int top, int width, int height) {
    const uint8_t channels[3] = {color.red, color.green, color.blue};
    const uint8_t* cover = coverage_.data();
    for (int y = top; y < top + height; ++y) {
      uint8_t* pixel =
          &pixels_.rgb[3 * (static_cast<size_t>(y) * static_cast<size_t>(pixels_.width) +
                            static_cast<size_t>(left))];
      for (int x = 0; x < width; ++x, ++cover)
        for (const uint8_t channel : channels) {
          *pixel = static_cast<uint8_t>((*pixel * (255 - *cover) + channel * *cover + 127) / 255);
          ++pixel;
        }
    }
  }

  void disc(Point center, double radius, const Color& color) {
    constexpr int kCorners = 48;
    std::vector<Point> ring;
    for (int i = 0; i < kCorners; ++i) {
      const double angle = 2 * std::numbers::pi * i / kCorners;
      ring.push_back({center.x + radius * std::cos(angle), center.y + radius * std::sin(angle)});
    }
    add_ring(ring);
    fill(color);
  }

  void segment(Point a, Point b, const Stroke& stroke) {
    const double length = std::hypot(b.x - a.x, b.y - a.y);
    if (length <= 0) return;
    const double half = stroke.width / 2 / length;
    const double dx = (b.y - a.y) * half, dy = (a.x - b.x) * half;
    const Point quad[] = {
        {a.x + dx, a.y + dy}, {b.x + dx, b.y + dy}, {b.x - dx, b.y - dy}, {a.x - dx, a.y - dy}};
    add_ring(quad);
    fill(stroke.color);
  }

  // Ends are butt, joints round, as the SVG says.
  void line(std::span<const Point> points, const Stroke& stroke) {
    const std::vector<double> dashes = dash_lengths(stroke.dash);
    size_t dash = 0;
    double left = dashes.empty() ? 0 : dashes[0];
    for (size_t i = 1; i < points.size(); ++i) {
      const Point a = points[i - 1], b = points[i];
      const bool ink = dash % 2 == 0;
      if (i > 1 && ink && stroke.width > 1) disc(a, stroke.width / 2, stroke.color);
      if (dashes.empty()) {
        segment(a, b, stroke);
        continue;
      }
      const double length = std::hypot(b.x - a.x, b.y - a.y);
      for (double at = 0; at < length;) {
        const double step = std::min(left, length - at);
        const auto on = [&](double t) {
          return Point{a.x + (b.x - a.x) * t / length, a.y + (b.y - a.y) * t / length};
        };
        if (dash % 2 == 0) segment(on(at), on(at + step), stroke);
        at += step;
        left -= step;
        if (left <= 0) {
          dash = (dash + 1) % dashes.size();
          left = dashes[dash];
        }
      }
    }
  }
  void draw(const Polyline& polyline) { line(polyline.points, polyline.stroke); }
  void draw(const Polygon& polygon) {
    add_ring(polygon.points);
    fill(polygon.fill);
    if (!polygon.outline) return;
    std::vector<Point> closed = polygon.points;
    closed.push_back(closed[0]);
    closed.push_back(closed[1]);  // the last joint
    line(closed, *polygon.outline);
  }
  void draw(const Rectangle& r) {
    const Point corners[] = {
        {r.x, r.y}, {r.x + r.width, r.y}, {r.x + r.width, r.y + r.height}, {r.x, r.y + r.height}};
    add_ring(corners);
    fill(r.fill);
  }
  void draw(const Circle& circle) {
    if (circle.outline) {
      const double half = circle.outline->width / 2;
      disc(circle.center, circle.radius + half, circle.outline->color);
      disc(circle.center, circle.radius - half, circle.fill);
    } else {
      disc(circle.center, circle.radius, circle.fill);
    }
  }
  void draw(const Text& text) {
    const double width = text_width(text.text, text.size);
    const double shift = text.anchor == Anchor::kStart    ? 0
                         : text.anchor == Anchor::kMiddle ? -width / 2
                                                          : -width;
    for (const PlacedGlyph& glyph : lay_out(text.text, text.size)) {
      const auto place = [&](Point p) {
        const double along = shift + glyph.x + p.x;
        return text.upward ? Point{text.at.x + p.y, text.at.y - along}
                           : Point{text.at.x + along, text.at.y + p.y};
      };
      for (const OutlineStep& step : glyph.outline)
        add(step.kind == OutlineStep::Kind::kMove   ? STBTT_vmove
            : step.kind == OutlineStep::Kind::kLine ? STBTT_vline
                                                    : STBTT_vcurve,
            place(step.to), place(step.control));
      fill(text.color);
    }
  }

  double scale_;
  Pixels pixels_;
  std::vector<stbtt_vertex> outline_;
  std::vector<uint8_t> coverage_;
};

}  // namespace

Pixels rasterize(const Picture& picture, double scale) { return Rasterizer(picture, scale).take(); }

}  // namespace hlwq::chart
