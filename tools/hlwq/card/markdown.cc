#include "card/markdown.h"

#include <nlohmann/json.hpp>

#include "chart/picture.h"

namespace hlwq::card {

std::string escape_markdown(std::string_view text) {
  const std::string shown = chart::shown_text(text);
  std::string escaped;
  bool digits_alone = true;  // so far: "1." would begin a list
  for (size_t i = 0; i < shown.size(); ++i) {
    const char c = shown[i];
    const auto before = [&](std::string_view end) {
      return std::string_view(shown).substr(0, i).ends_with(end);
    };
    // Always; where a block would begin; where a bare address would.
    const bool markup = std::string_view("\\`*_{}[]#|~!@").find(c) != std::string_view::npos;
    const bool begins = (i == 0 && (c == '-' || c == '+' || c == '=')) ||
                        (digits_alone && i > 0 && (c == '.' || c == ')') &&
                         (i + 1 == shown.size() || shown[i + 1] == ' '));
    const bool address = (c == ':' && shown.compare(i + 1, 2, "//") == 0) ||
                         (c == '.' && (before("www") || before("WWW")));
    digits_alone = digits_alone && c >= '0' && c <= '9';
    if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else if (c == '&') {
      escaped += "&amp;";
    } else {
      if (markup || begins || address) escaped += '\\';
      escaped += c;
    }
  }
  return escaped;
}

std::string yaml_string(std::string_view text) {
  return nlohmann::json(chart::shown_text(text)).dump();
}

std::string to_markdown(const Table& table) {
  std::string out;
  const auto add = [&](const std::vector<std::string>& cells) {
    out += "|";
    for (const std::string& cell : cells) out += " " + cell + " |";
    out += "\n";
  };
  add(table.head);
  out += "| --- |";
  for (size_t i = 1; i < table.head.size(); ++i) out += " ---: |";
  out += "\n";
  for (const std::vector<std::string>& row : table.rows) add(row);
  return out;
}

}  // namespace hlwq::card
