// Against Jinja2 itself; how the vectors were made is said in the archive's README.

#include <gtest/gtest.h>

#include <map>

#include "io/file.h"
#include "tests/text/jinja/jinja_test_support.h"
#include "tests/text/text_test_support.h"

namespace hlwq::jinja {
namespace {

std::vector<OrderedJson> read_lines(const std::string& path) {
  const Result<std::string> text = read_text_file(test_data(path), 4u << 20);
  EXPECT_TRUE(text) << text.error().message;
  std::vector<OrderedJson> lines;
  for (size_t begin = 0; text && begin < text->size();) {
    const size_t end = text->find('\n', begin);
    const Result<OrderedJson> line =
        parse_ordered_json(std::string_view(*text).substr(begin, end - begin), path);
    EXPECT_TRUE(line) << line.error().message;
    if (line) lines.push_back(*line);
    begin = end + 1;
  }
  return lines;
}

TEST(TemplateVectors, TemplatesOfModels) {
  const std::vector<OrderedJson> lines = read_lines("chat_templates/renders.jsonl");
  EXPECT_EQ(lines.size(), 208u);
  std::map<std::string, std::string> sources;
  for (const OrderedJson& line : lines) {
    const std::string name = line.at("template");
    const std::string label = name + " " + line.at("case").get<std::string>();
    if (!sources.contains(name)) {
      const Result<std::string> source =
          read_text_file(test_data("chat_templates/" + name), 1u << 20);
      ASSERT_TRUE(source) << source.error().message;
      sources[name] = *source;
    }
    const Result<Rendered> rendered =
        render(sources[name], line.at("context"), line.at("bos_token"), line.at("eos_token"));
    if (line.contains("text")) {
      ASSERT_TRUE(rendered) << label << ": " << rendered.error().message;
      EXPECT_EQ(rendered->text, line.at("text").get<std::string>()) << label;
    } else {
      // "TemplateError: what the template says"
      const std::string error = line.at("error");
      ASSERT_FALSE(rendered) << label;
      EXPECT_EQ(rendered.error().message, "test: " + error.substr(error.find(": ") + 2)) << label;
      EXPECT_EQ(rendered.error().code, ErrorCode::kInvalidArgument) << label;
    }
  }
}

TEST(TemplateVectors, SmallTemplates) {
  const std::vector<OrderedJson> lines = read_lines("chat_templates/small.jsonl");
  ASSERT_GT(lines.size(), 700u);
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::string source = lines[i].at("template");
    const Result<Rendered> rendered = render(source, lines[0].at("context"));
    if (lines[i].contains("text")) {
      ASSERT_TRUE(rendered) << source << ": " << rendered.error().message;
      EXPECT_EQ(rendered->text, lines[i].at("text").get<std::string>()) << source;
    } else {
      EXPECT_FALSE(rendered) << source << " should fail: " << lines[i].at("error");
    }
  }
}

}  // namespace
}  // namespace hlwq::jinja
