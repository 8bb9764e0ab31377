#pragma once
// Markdown made of text from outside.

#include <string>
#include <string_view>
#include <vector>

namespace hlwq::card {

// One line that reads as `text` and is nothing else: no markup, no HTML, no table's edge.
[[nodiscard]] std::string escape_markdown(std::string_view text);

// A double-quoted YAML scalar (JSON's strings are YAML's).
[[nodiscard]] std::string yaml_string(std::string_view text);

// Cells are Markdown already. Every row as long as the head; the first column is text, the others
// are aligned to the right.
struct Table {
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows;
};
[[nodiscard]] std::string to_markdown(const Table& table);

}  // namespace hlwq::card
