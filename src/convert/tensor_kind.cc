#include "convert/tensor_kind.h"

#include <algorithm>

namespace hlwq {

std::string kind_of(std::string_view name) {
  std::string kind;
  for (size_t at = 0; at <= name.size();) {
    const size_t dot = std::min(name.find('.', at), name.size());
    const std::string_view part = name.substr(at, dot - at);
    at = dot + 1;
    if (!part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos) {
      if (kind == "backbone.layers" || kind == "model.layers") kind.clear();
      continue;
    }
    kind += (kind.empty() ? "" : ".") + std::string(part);
  }
  return kind;
}

}  // namespace hlwq
