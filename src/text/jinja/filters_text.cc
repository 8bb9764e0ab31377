#include <fmt/format.h>

#include <algorithm>

#include "text/jinja/attributes.h"
#include "text/jinja/builtin_tables.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/text_operations.h"

namespace hlwq::jinja {
namespace {

// The filter as a method of str(self).
Result<Value> as_method(Runtime& runtime, std::string_view method, const Value& self,
                        const Arguments& arguments) {
  if (self.is_text()) return find_text_method(method)->native(runtime, self, arguments);
  HLWQ_TRY_ASSIGN(MarkedText text, to_str(runtime, self));
  HLWQ_TRY_ASSIGN(const Value value, runtime.text(std::move(text)));
  return find_text_method(method)->native(runtime, value, arguments);
}

Result<Value> filter_trim(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return as_method(runtime, "strip", self, arguments);
}
Result<Value> filter_upper(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return as_method(runtime, "upper", self, arguments);
}
Result<Value> filter_lower(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return as_method(runtime, "lower", self, arguments);
}
Result<Value> filter_capitalize(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return as_method(runtime, "capitalize", self, arguments);
}

Result<Value> filter_title(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "title", arguments, {}));
  HLWQ_TRY_ASSIGN(const MarkedText text, to_str(runtime, self));
  HLWQ_TRY(runtime.spend(1 + text.size() / 4));
  return runtime.text(title_after_breaks(text));
}

// Also `safe`: without automatic escaping there is nothing to be safe from. (In Jinja its result
// would escape the text that '+' joins it to.)
Result<Value> filter_string(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY(Bound::bind(runtime, "string", arguments, {}));
  if (self.is_text()) return self;
  HLWQ_TRY_ASSIGN(MarkedText text, to_str(runtime, self));
  return runtime.text(std::move(text));
}

Result<Value> filter_replace(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound,
                  Bound::bind(runtime, "replace", arguments, {"old", "new", "count"}, 2));
  Arguments passed;
  for (size_t i = 0; i < 2; ++i) {
    HLWQ_TRY_ASSIGN(MarkedText text, to_str(runtime, *bound[i]));
    HLWQ_TRY_ASSIGN(Value value, runtime.text(std::move(text)));
    passed.positional.push_back(std::move(value));
  }
  if (!bound.is_none(2)) passed.positional.push_back(*bound[2]);
  return as_method(runtime, "replace", self, passed);
}

Result<Value> filter_indent(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound,
                  Bound::bind(runtime, "indent", arguments, {"width", "first", "blank"}));
  if (self.is_undefined()) return runtime.error(self.why());
  if (!self.is_text())
    return runtime.error(fmt::format("indent: expected str, not {}", self.type_name()));
  MarkedText indent;
  if (bound[0] != nullptr && bound[0]->is_text()) {
    indent = bound[0]->text();
  } else {
    HLWQ_TRY_ASSIGN(const int64_t width, bound.integer(runtime, 0, 4));
    HLWQ_TRY(runtime.expect_text(static_cast<uint64_t>(std::max<int64_t>(width, 0))));
    indent.append(std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' '),
                  Origin::kTemplate);
  }
  const bool blank = bound.truth(2, false);
  HLWQ_TRY(runtime.spend(1 + self.text().size()));
  // A text that ends with a line's end has an empty last line here.
  MarkedText ended = self.text();
  ended.append("\n", Origin::kTemplate);
  const std::vector<MarkedText> lines = split_lines(ended, false);
  HLWQ_TRY(runtime.expect_text(static_cast<unsigned __int128>(lines.size()) * indent.size() +
                               ended.size()));
  HLWQ_TRY(runtime.touch(lines.size() * indent.size()));
  MarkedText indented;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) indented.append("\n", Origin::kTemplate);
    const bool is_indented = i == 0 ? bound.truth(1, false) : blank || lines[i].size() > 0;
    if (is_indented) indented.append(indent);
    indented.append(lines[i]);
  }
  return runtime.text(std::move(indented));
}

// As transformers has it: no escapes for HTML, and other arguments.
Result<Value> filter_tojson(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound,
                  Bound::bind(runtime, "tojson", arguments,
                              {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ascii = bound.truth(0, false);
  style.sort_keys = bound.truth(3, false);
  if (!bound.is_none(1)) {
    style.item_separator = ",";
    if (bound[1]->is_text()) {
      style.indent = bound[1]->text().bytes();
    } else {
      HLWQ_TRY_ASSIGN(const int64_t width, bound.integer(runtime, 1, 0));
      HLWQ_TRY(runtime.expect_text(static_cast<uint64_t>(std::max<int64_t>(width, 0))));
      style.indent = std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    }
    style.origin = bound[1]->origin();
  }
  if (!bound.is_none(2)) {
    const Sequence* pair = bound[2]->sequence();
    const bool is_pair = pair != nullptr && pair->items.size() == 2 && pair->items[0].is_text() &&
                         pair->items[1].is_text();
    if (!is_pair) return runtime.error("tojson: separators must be a pair of str");
    style.item_separator = pair->items[0].text().bytes();
    style.key_separator = pair->items[1].text().bytes();
    if (pair->has_data) style.origin = Origin::kData;
  }
  HLWQ_TRY_ASSIGN(MarkedText json, to_json(runtime, self, style));
  return runtime.text(std::move(json));
}

Result<Value> filter_join(Runtime& runtime, const Value& self, const Arguments& arguments) {
  HLWQ_TRY_ASSIGN(const Bound bound, Bound::bind(runtime, "join", arguments, {"d", "attribute"}));
  HLWQ_TRY_ASSIGN(const SequencePtr items, iterate(runtime, self));
  MarkedText joined;
  for (size_t i = 0; i < items->items.size(); ++i) {
    if (i > 0 && bound[0] != nullptr) HLWQ_TRY(append_str(runtime, *bound[0], joined));
    Value item = items->items[i];
    if (!bound.is_none(1)) {
      HLWQ_TRY_ASSIGN(item, get_path(runtime, item, *bound[1]));
    }
    HLWQ_TRY(append_str(runtime, item, joined));
  }
  return runtime.text(std::move(joined));
}

constexpr NamedNative kFilters[] = {
    {"trim", filter_trim},     {"upper", filter_upper},
    {"lower", filter_lower},   {"capitalize", filter_capitalize},
    {"title", filter_title},   {"string", filter_string},
    {"safe", filter_string},   {"replace", filter_replace},
    {"indent", filter_indent}, {"tojson", filter_tojson},
    {"join", filter_join},
};

}  // namespace

std::span<const NamedNative> text_filters() { return kFilters; }

}  // namespace hlwq::jinja
