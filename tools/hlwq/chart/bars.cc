#include "chart/bars.h"

#include <fmt/format.h>

#include <algorithm>

#include "chart/axis.h"
#include "chart/font.h"

namespace hlwq::chart {
namespace {

constexpr double kBar = 18, kRow = 26, kGroupHead = 26;
constexpr double kMostLabel = 300, kValueRoom = 84, kAxisRoom = 58;
constexpr double kMostValue = 1e18;

Status check(const BarChart& chart) {
  size_t bars = 0;
  for (const BarGroup& group : chart.groups) {
    bars += group.bars.size();
    for (const Bar& bar : group.bars)
      if (!(bar.value >= 0 && bar.value <= kMostValue))
        return fail(ErrorCode::kBadValue,
                    fmt::format("{}: got {}, wanted 0 to {}", shown_text(bar.label), bar.value,
                                kMostValue));
  }
  if (bars == 0 || bars > kMostBars)
    return fail(ErrorCode::kBadValue,
                fmt::format("{}: {} bars, wanted 1 to {}", chart.heading.title, bars, kMostBars));
  return {};
}

}  // namespace

Result<Picture> draw_bars(const BarChart& chart) {
  HLWQ_TRY(check(chart));
  double widest = 0, most = 0, height = 0;
  for (const BarGroup& group : chart.groups) {
    height += kGroupHead + kRow * static_cast<double>(group.bars.size());
    for (const Bar& bar : group.bars) {
      widest = std::max(widest, text_width(shown_text(bar.label), 12));
      most = std::max(most, bar.value);
    }
  }
  const double left = kMargin + std::min(widest, kMostLabel) + 12;
  const double right = kWidth - kMargin - kValueRoom;
  const double bottom = kBodyTop + height;
  const Axis axis = linear_axis(0, most);
  const auto x_of = [&](double value) { return left + axis.share(value) * (right - left); };

  Picture picture = begin_picture(chart.heading, bottom + kAxisRoom + kFootHeight);
  for (const Tick& tick : axis.ticks) {
    const double x = x_of(tick.value);
    add_line(picture, {x, kBodyTop}, {x, bottom}, {.color = kGrid});
    add_text(
        picture,
        {.at = {x, bottom + 18}, .text = tick.label, .color = kQuiet, .anchor = Anchor::kMiddle},
        (right - left) / static_cast<double>(axis.ticks.size()));
  }
  add_text(picture,
           {.at = {(left + right) / 2, bottom + 42},
            .text = chart.axis,
            .size = 13,
            .color = kInk,
            .anchor = Anchor::kMiddle},
           right - left);
  double y = kBodyTop;
  for (const BarGroup& group : chart.groups) {
    add_text(picture, {.at = {kMargin, y + 16}, .text = group.label, .size = 13, .color = kInk},
             kWidth - 2 * kMargin);
    y += kGroupHead;
    for (const Bar& bar : group.bars) {
      const double middle = y + kRow / 2;
      add_text(
          picture,
          {.at = {left - 10, middle + 4}, .text = bar.label, .color = kInk, .anchor = Anchor::kEnd},
          kMostLabel);
      picture.shapes.push_back(Rectangle{.x = left,
                                         .y = middle - kBar / 2,
                                         .width = x_of(bar.value) - left,
                                         .height = kBar,
                                         .fill = bar.color});
      add_text(picture,
               {.at = {x_of(bar.value) + 6, middle + 4}, .text = bar.value_text, .color = kInk},
               kValueRoom + kMargin - 6);
      y += kRow;
    }
  }
  add_line(picture, {left, kBodyTop}, {left, bottom}, {.color = kQuiet});
  return picture;
}

}  // namespace hlwq::chart
