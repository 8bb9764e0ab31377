#include "format/variant.h"

#include <algorithm>

namespace hlwq {

std::string_view name_of(Variant variant) {
  switch (variant) {
    case Variant::kPlain:
      return "plain";
    case Variant::kF1:
      return "F1 (polar_engine_v4 live dump)";
    case Variant::kF2:
      return "F2 (package quantizer)";
    case Variant::kF3:
      return "F3 (polar_engine_v5, one code a byte)";
    case Variant::kF4:
      return "F4 (polar_engine_v5, packed codes)";
    case Variant::kF5:
      return "F5 (dunder names)";
    case Variant::kF6:
      return "F6 (PQ multi)";
    case Variant::kF7:
      return "F7 (hlwq-q)";
    case Variant::kF8:
      return "F8 (sliced fused experts)";
    case Variant::kF9:
      return "F9 (EOQ flat)";
  }
  return "unknown";
}

Variant decide_variant(std::span<const CodedLayer> layers, const PolarConfig& config) {
  if (layers.empty()) return Variant::kPlain;
  const auto any = [&](auto&& holds) { return std::ranges::any_of(layers, holds); };
  if (any([](const CodedLayer& l) { return l.eoq; })) return Variant::kF9;
  if (any([](const CodedLayer& l) { return l.slice; })) return Variant::kF8;

  const CodedLayer& first = layers.front();
  if (first.rule->stream) return first.dotted_key ? Variant::kF7 : Variant::kF6;
  if (first.rule->codes.starts_with("__")) return Variant::kF5;

  const bool nibbles = any([](const CodedLayer& l) { return l.info.packing == Packing::kNibble; });
  const bool streams = any([](const CodedLayer& l) {
    return l.info.packing == Packing::kLsb || l.info.packing == Packing::kMsb;
  });
  const bool scaled = any([](const CodedLayer& l) { return l.scaled; });
  if (!scaled && !nibbles) return streams ? Variant::kF4 : Variant::kF3;
  if (any([](const CodedLayer& l) { return l.rule->codes == ".codes_packed"; }))
    return Variant::kF1;
  // A live dump whose codes were not packed yet looks like a package file of 5 bits and more.
  const bool package = nibbles || streams || config.quantization == "polarengine" ||
                       config.format == "polar_engine_v5";
  return package ? Variant::kF2 : Variant::kF1;
}

}  // namespace hlwq
