#include "chart/svg.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>

namespace hlwq::chart {
namespace {

// Hundredths of a pixel are enough.
std::string number(double value) {
  const double hundredths = std::round(value * 100) / 100;
  std::string text = fmt::format("{:.2f}", hundredths == 0 ? 0.0 : hundredths);  // no "-0"
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

std::string hex(const Color& color) {
  return fmt::format("#{:02x}{:02x}{:02x}", color.red, color.green, color.blue);
}

class Writer {
 public:
  std::string write(const Picture& picture) {
    add(R"(<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{0}" height="{1}" viewBox="0 0 {0} {1}" )"
        R"(font-family="DejaVu Sans, Verdana, Geneva, sans-serif">)"
        "\n",
        number(picture.width), number(picture.height));
    add("<title>{}</title>\n", escape_xml(picture.title));
    if (!picture.description.empty()) add("<desc>{}</desc>\n", escape_xml(picture.description));
    add("<rect width=\"{}\" height=\"{}\" fill=\"#ffffff\"/>\n", number(picture.width),
        number(picture.height));
    for (const Shape& shape : picture.shapes)
      std::visit([this](const auto& drawn) { draw(drawn); }, shape);
    out_ += "</svg>\n";
    return std::move(out_);
  }

 private:
  template <typename... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }

  void stroke(const Stroke& stroke) {
    add(" stroke=\"{}\"", hex(stroke.color));
    if (stroke.width != 1) add(" stroke-width=\"{}\"", number(stroke.width));
    if (stroke.dash == Dash::kSolid) return;
    std::string lengths;
    for (const double length : dash_lengths(stroke.dash))
      lengths += (lengths.empty() ? "" : " ") + number(length);
    add(" stroke-dasharray=\"{}\"", lengths);
  }
  void points(const std::vector<Point>& points) {
    std::string text;
    for (const Point& point : points)
      text += (text.empty() ? "" : " ") + number(point.x) + "," + number(point.y);
    add(" points=\"{}\"", text);
  }

  void draw(const Polyline& line) {
    if (line.points.size() == 2) {
      add("<path d=\"M{} {}L{} {}\"", number(line.points[0].x), number(line.points[0].y),
          number(line.points[1].x), number(line.points[1].y));
    } else {
      out_ += "<polyline fill=\"none\" stroke-linejoin=\"round\"";
      points(line.points);
    }
    stroke(line.stroke);
    out_ += "/>\n";
  }
  void draw(const Polygon& polygon) {
    add("<polygon fill=\"{}\"", hex(polygon.fill));
    points(polygon.points);
    if (polygon.outline) stroke(*polygon.outline);
    out_ += "/>\n";
  }
  void draw(const Rectangle& rectangle) {
    add("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\"/>\n", number(rectangle.x),
        number(rectangle.y), number(rectangle.width), number(rectangle.height),
        hex(rectangle.fill));
  }
  void draw(const Circle& circle) {
    add("<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{}\"", number(circle.center.x),
        number(circle.center.y), number(circle.radius), hex(circle.fill));
    if (circle.outline) stroke(*circle.outline);
    out_ += "/>\n";
  }
  void draw(const Text& text) {
    const std::string x = number(text.at.x), y = number(text.at.y);
    add("<text x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"{}\"", x, y, number(text.size),
        hex(text.color));
    if (text.anchor != Anchor::kStart)
      add(" text-anchor=\"{}\"", text.anchor == Anchor::kMiddle ? "middle" : "end");
    if (text.upward) add(" transform=\"rotate(-90 {} {})\"", x, y);
    add(">{}</text>\n", escape_xml(text.text));
  }

  std::string out_;
};

}  // namespace

std::string escape_xml(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string to_svg(const Picture& picture) { return Writer().write(picture); }

}  // namespace hlwq::chart
