#pragma once
// The license of the original model, from the front matter of its card.

#include <optional>
#include <string>

#include "base/result.h"

namespace hlwq::card {

struct License {
  std::string id;          // "apache-2.0", "other"
  std::string name, link;  // of "other"; may be empty
};

// Of `folder`/README.md; nothing without that file, without front matter or without a license in
// it. Only plain scalars are understood, which is what cards have. Errors: kIo.
[[nodiscard]] Result<std::optional<License>> read_license(const std::string& folder);

}  // namespace hlwq::card
