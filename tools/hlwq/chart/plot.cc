#include "chart/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "chart/axis.h"
#include "chart/font.h"

namespace hlwq::chart {
namespace {

constexpr double kBodyHeight = 340, kLeft = 92, kRight = kWidth - 32;
constexpr double kLegendRow = 20, kLegendLine = 34, kLegendGap = 22, kLegendText = 340;
constexpr double kAxisRoom = 58;  // tick labels and the axis's name below the body
constexpr double kMostValue = 1e18, kLeastLog = 1e-30;

struct Range {
  double least = std::numeric_limits<double>::infinity();
  double most = -std::numeric_limits<double>::infinity();
  void add(double value) {
    least = std::min(least, value);
    most = std::max(most, value);
  }
};

Status check_value(double value, const PlotAxis& axis, const Series& series) {
  const std::string where = fmt::format("{} of {}", axis.label, shown_text(series.label));
  if (!(std::abs(value) <= kMostValue))
    return fail(ErrorCode::kBadValue,
                fmt::format("{}: got {}, wanted a number up to {}", where, value, kMostValue));
  if (axis.logarithmic && value < kLeastLog)
    return fail(ErrorCode::kBadValue,
                fmt::format("{}: got {}, wanted more than 0 for a logarithmic axis", where, value));
  return {};
}

Status check(const Plot& plot) {
  if (plot.series.size() > kMostStyles)
    return fail(ErrorCode::kBadValue,
                fmt::format("{}: {} series, wanted at most {}", plot.heading.title,
                            plot.series.size(), kMostStyles));
  size_t points = 0;
  for (const Series& series : plot.series) {
    points += series.points.size();
    for (const PlotPoint& point : series.points) {
      HLWQ_TRY(check_value(point.x, plot.x, series));
      HLWQ_TRY(check_value(point.y, plot.y, series));
      for (const auto& end : {point.low, point.high})
        if (end) HLWQ_TRY(check_value(*end, {.label = plot.y.label}, series));
    }
  }
  if (points == 0 || points > kMostPoints)
    return fail(ErrorCode::kBadValue, fmt::format("{}: {} points, wanted 1 to {}",
                                                  plot.heading.title, points, kMostPoints));
  return {};
}

Axis axis_around(Range range, const PlotAxis& axis) {
  if (axis.from_zero) range.add(0);
  return axis.logarithmic ? log_axis(range.least, range.most)
                          : linear_axis(range.least, range.most);
}

// Where each legend entry begins; rows below kBodyTop.
std::vector<Point> place_legend(const std::vector<Series>& series) {
  std::vector<Point> places;
  double x = kMargin, y = kBodyTop;
  for (const Series& entry : series) {
    const std::string label = fit_text(shown_text(entry.label), 12, kLegendText);
    const double width = kLegendLine + text_width(label, 12);
    if (x > kMargin && x + width > kWidth - kMargin) {
      x = kMargin;
      y += kLegendRow;
    }
    places.push_back({x, y});
    x += width + kLegendGap;
  }
  return places;
}

class Drawing {
 public:
  explicit Drawing(const Plot& plot)
      : plot_(plot), legend_(place_legend(plot.series)), top_(legend_.back().y + kLegendRow) {
    Range x, y;
    for (const Series& series : plot.series)
      for (const PlotPoint& point : series.points) {
        x.add(point.x);
        y.add(point.y);
        for (const auto& end : {point.low, point.high})
          if (end && (!plot.y.logarithmic || *end >= kLeastLog)) y.add(*end);
      }
    x_ = axis_around(x, plot.x);
    y_ = axis_around(y, plot.y);
    picture_ = begin_picture(plot.heading, bottom() + kAxisRoom + kFootHeight);
  }

  Picture draw() {
    draw_axes();
    for (const Series& series : plot_.series) draw_line(series);
    for (const Series& series : plot_.series) draw_points(series);
    for (size_t i = 0; i < legend_.size(); ++i) draw_legend(plot_.series[i], legend_[i]);
    return std::move(picture_);
  }

 private:
  [[nodiscard]] double bottom() const { return top_ + kBodyHeight; }
  [[nodiscard]] double x_of(double value) const {
    return kLeft + std::clamp(x_.share(value), 0.0, 1.0) * (kRight - kLeft);
  }
  [[nodiscard]] double y_of(double value) const {
    const double share = y_.logarithmic && value < kLeastLog ? 0 : y_.share(value);
    return bottom() - std::clamp(share, 0.0, 1.0) * kBodyHeight;
  }

  void draw_axes() {
    const Stroke grid = {.color = kGrid}, edge = {.color = kQuiet};
    for (const Tick& tick : y_.ticks) {
      const double y = y_of(tick.value);
      add_line(picture_, {kLeft, y}, {kRight, y}, grid);
      add_text(
          picture_,
          {.at = {kLeft - 8, y + 4}, .text = tick.label, .color = kQuiet, .anchor = Anchor::kEnd},
          kLeft - 8 - 22);
    }
    double free_from = 0;  // labels that would touch are left out
    for (const Tick& tick : x_.ticks) {
      const double x = x_of(tick.value), half = text_width(tick.label, 12) / 2;
      add_line(picture_, {x, top_}, {x, bottom()}, grid);
      if (x - half < free_from || x + half > kWidth - 4) continue;
      free_from = x + half + 10;
      add_text(picture_,
               {.at = {x, bottom() + 18},
                .text = tick.label,
                .color = kQuiet,
                .anchor = Anchor::kMiddle},
               2 * half + 1);
    }
    add_line(picture_, {kLeft, bottom()}, {kRight, bottom()}, edge);
    add_line(picture_, {kLeft, top_}, {kLeft, bottom()}, edge);
    add_text(picture_,
             {.at = {(kLeft + kRight) / 2, bottom() + 42},
              .text = plot_.x.label,
              .size = 13,
              .color = kInk,
              .anchor = Anchor::kMiddle},
             kRight - kLeft);
    add_text(picture_,
             {.at = {22, top_ + kBodyHeight / 2},
              .text = plot_.y.label,
              .size = 13,
              .color = kInk,
              .anchor = Anchor::kMiddle,
              .upward = true},
             kBodyHeight);
  }

  void draw_line(const Series& series) {
    if (series.points.size() < 2) return;
    Polyline line{.points = {},
                  .stroke = {.color = series.style.color, .width = 2, .dash = series.style.dash}};
    for (const PlotPoint& point : series.points)
      line.points.push_back({x_of(point.x), y_of(point.y)});
    picture_.shapes.push_back(std::move(line));
  }

  void draw_points(const Series& series) {
    for (const PlotPoint& point : series.points) {
      const Point at = {x_of(point.x), y_of(point.y)};
      if (point.low || point.high) {
        const double low = y_of(point.low.value_or(point.y)),
                     high = y_of(point.high.value_or(point.y));
        const Stroke stroke = {.color = series.style.color, .width = 1.5};
        add_line(picture_, {at.x, low}, {at.x, high}, stroke);
        for (const double end : {low, high})
          add_line(picture_, {at.x - 5, end}, {at.x + 5, end}, stroke);
      }
      add_marker(picture_, at, series.style);
    }
  }

  void draw_legend(const Series& series, Point at) {
    if (series.points.size() > 1)
      add_line(picture_, {at.x, at.y}, {at.x + 28, at.y},
               {.color = series.style.color, .width = 2, .dash = series.style.dash});
    add_marker(picture_, {at.x + 14, at.y}, series.style);
    add_text(picture_, {.at = {at.x + kLegendLine, at.y + 4}, .text = series.label, .color = kInk},
             kLegendText);
  }

  const Plot& plot_;
  std::vector<Point> legend_;
  double top_;
  Axis x_, y_;
  Picture picture_;
};

}  // namespace

Result<Picture> draw_plot(const Plot& plot) {
  HLWQ_TRY(check(plot));
  return Drawing(plot).draw();
}

}  // namespace hlwq::chart
