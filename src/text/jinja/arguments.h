#pragma once
// What a call passes, and how built-in functions, filters and methods take it.

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/runtime.h"

namespace hlwq::jinja {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// What follows `is`.
using NativeTest = Result<bool> (*)(Runtime& runtime, const Value& self,
                                    const Arguments& arguments);

// The arguments of one call by the names of the parameters.
class Bound {
 public:
  // `what` is the called thing, for messages. Errors: too many, unknown, twice, or fewer than the
  // first `required`.
  [[nodiscard]] static Result<Bound> bind(const Runtime& runtime, std::string_view what,
                                          const Arguments& arguments,
                                          std::initializer_list<std::string_view> names,
                                          size_t required = 0);
  // Null when not given.
  [[nodiscard]] const Value* operator[](size_t parameter) const { return values_[parameter]; }
  // Not given, or None.
  [[nodiscard]] bool is_none(size_t parameter) const {
    return values_[parameter] == nullptr || values_[parameter]->is_none();
  }

  // Errors: another type, named in the message.
  [[nodiscard]] Result<const MarkedText*> text(const Runtime& runtime, size_t parameter) const;
  [[nodiscard]] Result<int64_t> integer(const Runtime& runtime, size_t parameter,
                                        int64_t otherwise) const;
  [[nodiscard]] bool truth(size_t parameter, bool otherwise) const;

 private:
  std::string_view what_;
  std::vector<std::string_view> names_;
  std::vector<const Value*> values_;
};

}  // namespace hlwq::jinja
