#pragma once
// The parts of builtins.h's tables.

#include <span>

#include "text/jinja/arguments.h"

namespace hlwq::jinja {

struct NamedNative {
  std::string_view name;
  Native native;
};

[[nodiscard]] std::span<const NamedNative> text_filters();
[[nodiscard]] std::span<const NamedNative> sequence_filters();
[[nodiscard]] std::span<const NamedNative> selecting_filters();
[[nodiscard]] std::span<const NamedNative> number_filters();

}  // namespace hlwq::jinja
