#include "chart/heat_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "chart/axis.h"

namespace hlwq::chart {
namespace {

constexpr double kLeft = 72, kRight = kWidth - 120;
constexpr double kAxisRoom = 58, kLeastBody = 120, kMostBody = 520, kMostCell = 22;
constexpr double kMostValue = 1e18;
constexpr int kLevels = 12;

// Cividis (Nunez, Anderton and Renslow, 2018), made for eyes without all three kinds of cones:
// dark for little, light for much. Corners of a piecewise linear curve.
constexpr std::array<Color, 9> kCurve = {{{0x00, 0x22, 0x4E},
                                          {0x12, 0x35, 0x70},
                                          {0x3B, 0x49, 0x6C},
                                          {0x57, 0x5D, 0x6D},
                                          {0x70, 0x71, 0x73},
                                          {0x8A, 0x86, 0x79},
                                          {0xA5, 0x9C, 0x74},
                                          {0xC3, 0xB3, 0x69},
                                          {0xFE, 0xE8, 0x38}}};

Color color_of(int level) {
  const double at = (kCurve.size() - 1.0) * level / (kLevels - 1);
  const auto corner = std::min(static_cast<size_t>(at), kCurve.size() - 2);
  const double t = at - static_cast<double>(corner);
  const auto mix = [&](uint8_t Color::*channel) {
    return static_cast<uint8_t>(
        std::lround((1 - t) * kCurve[corner].*channel + t * kCurve[corner + 1].*channel));
  };
  return {mix(&Color::red), mix(&Color::green), mix(&Color::blue)};
}

Status check(const HeatMap& map) {
  if (map.rows < 1 || map.rows > kMostRows || map.columns < 1 || map.columns > kMostColumns)
    return fail(ErrorCode::kBadValue,
                fmt::format("{}: a table of {} by {}, wanted at least 1, at most {} by {}",
                            map.heading.title, map.rows, map.columns, kMostRows, kMostColumns));
  if (map.values.size() != static_cast<size_t>(map.rows * map.columns))
    return fail(ErrorCode::kBadValue,
                fmt::format("{}: {} values in a table of {} by {}", map.heading.title,
                            map.values.size(), map.rows, map.columns));
  for (const double value : map.values)
    if (!(value >= 0 && value <= kMostValue))
      return fail(ErrorCode::kBadValue,
                  fmt::format("{}: got {}, wanted 0 to {}", map.heading.title, value, kMostValue));
  return {};
}

// Labels of whole numbers from 0 to `count`, none closer than `room` units; a cell has `cell`.
int64_t label_step(double cell, double room) {
  int64_t step = 1;
  for (const int64_t factor : {2, 5, 10, 20, 50, 100, 200, 500, 1000}) {
    if (static_cast<double>(step) * cell >= room) break;
    step = factor;
  }
  return step;
}

class Drawing {
 public:
  explicit Drawing(const HeatMap& map)
      : map_(map),
        cell_width_((kRight - kLeft) / static_cast<double>(map.columns)),
        body_(std::min(kMostBody, std::max(kLeastBody, kMostCell * static_cast<double>(map.rows)))),
        cell_height_(body_ / static_cast<double>(map.rows)),
        most_(*std::max_element(map.values.begin(), map.values.end())),
        picture_(begin_picture(map.heading, kBodyTop + body_ + kAxisRoom + kFootHeight)) {}

  Picture draw() {
    for (int64_t row = 0; row < map_.rows; ++row) draw_row(row);
    draw_names();
    draw_scale();
    return std::move(picture_);
  }

 private:
  [[nodiscard]] int level_of(int64_t row, int64_t column) const {
    const double value = map_.values[static_cast<size_t>(row * map_.columns + column)];
    if (most_ <= 0) return 0;
    return std::min(static_cast<int>(value / most_ * kLevels), kLevels - 1);
  }

  // Neighbors of one color are one rectangle.
  void draw_row(int64_t row) {
    for (int64_t begin = 0; begin < map_.columns;) {
      int64_t end = begin + 1;
      while (end < map_.columns && level_of(row, end) == level_of(row, begin)) ++end;
      picture_.shapes.push_back(Rectangle{.x = kLeft + cell_width_ * static_cast<double>(begin),
                                          .y = kBodyTop + cell_height_ * static_cast<double>(row),
                                          .width = cell_width_ * static_cast<double>(end - begin),
                                          .height = cell_height_,
                                          .fill = color_of(level_of(row, begin))});
      begin = end;
    }
  }

  void draw_names() {
    const double bottom = kBodyTop + body_;
    const int64_t row_step = label_step(cell_height_, 14),
                  column_step = label_step(cell_width_, 34);
    for (int64_t row = 0; row < map_.rows; row += row_step)
      add_text(picture_,
               {.at = {kLeft - 8, kBodyTop + cell_height_ * (static_cast<double>(row) + 0.5) + 4},
                .text = fmt::format("{}", row),
                .color = kQuiet,
                .anchor = Anchor::kEnd},
               40);
    for (int64_t column = 0; column < map_.columns; column += column_step)
      add_text(picture_,
               {.at = {kLeft + cell_width_ * (static_cast<double>(column) + 0.5), bottom + 18},
                .text = fmt::format("{}", column),
                .color = kQuiet,
                .anchor = Anchor::kMiddle},
               40);
    add_text(picture_,
             {.at = {(kLeft + kRight) / 2, bottom + 42},
              .text = map_.x,
              .size = 13,
              .color = kInk,
              .anchor = Anchor::kMiddle},
             kRight - kLeft);
    add_text(picture_,
             {.at = {22, kBodyTop + body_ / 2},
              .text = map_.y,
              .size = 13,
              .color = kInk,
              .anchor = Anchor::kMiddle,
              .upward = true},
             body_);
  }

  void draw_scale() {
    const double x = kRight + 24, step = body_ / kLevels;
    for (int level = 0; level < kLevels; ++level)
      picture_.shapes.push_back(Rectangle{.x = x,
                                          .y = kBodyTop + body_ - step * (level + 1),
                                          .width = 16,
                                          .height = step,
                                          .fill = color_of(level)});
    for (const double share : {0.0, 0.5, 1.0})
      add_text(picture_,
               {.at = {x + 22, kBodyTop + body_ * (1 - share) +
                                   (share == 1   ? 9
                                    : share == 0 ? 0
                                                 : 4)},
                .text = number_text(std::round(most_ * share * 100) / 100),
                .color = kQuiet},
               kWidth - x - 22 - 24);
    add_text(picture_,
             {.at = {kWidth - 10, kBodyTop + body_ / 2},
              .text = map_.scale,
              .size = 12,
              .color = kInk,
              .anchor = Anchor::kMiddle,
              .upward = true},
             body_);
  }

  const HeatMap& map_;
  double cell_width_, body_, cell_height_, most_;
  Picture picture_;
};

}  // namespace

Result<Picture> draw_heat_map(const HeatMap& map) {
  HLWQ_TRY(check(map));
  return Drawing(map).draw();
}

}  // namespace hlwq::chart
