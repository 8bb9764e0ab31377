#include "card/model_card.h"

#include <fmt/format.h>

#include <iterator>
#include <map>

#include "base/units.h"
#include "card/markdown.h"
#include "card/measured.h"
#include "chart/axis.h"

namespace hlwq::card {
namespace {

// "owner/name", as hubs name repositories: anything else would be a wrong link.
bool is_repository(const std::string& name) {
  const size_t slash = name.find('/');
  return name.size() <= 200 && slash != 0 && slash != std::string::npos &&
         slash + 1 != name.size() && name.find('/', slash + 1) == std::string::npos &&
         name.find_first_not_of(
             "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_./") ==
             std::string::npos;
}

class Card {
 public:
  explicit Card(const CardData& data) : data_(data) {}

  std::string write() {
    add_front_matter();
    add("\n# {}\n\n", escape_markdown(data_.name));
    add_summary();
    add_facts();
    add_usage();
    add_quality(out_, data_.results.ppl, data_.name);
    add_speed(out_, data_.results.bench, data_.name);
    add_charts();
    add_caveats();
    return std::move(out_);
  }

 private:
  template <typename... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }

  [[nodiscard]] bool coded() const { return data_.checkpoint.coded_bits_per_weight.has_value(); }

  void add_front_matter() {
    const InspectReport& of = data_.checkpoint;
    out_ += "---\n";
    if (is_repository(of.base_model)) {
      add("base_model: {}\n", yaml_string(of.base_model));
      if (coded()) out_ += "base_model_relation: quantized\n";
    }
    if (data_.license) {
      add("license: {}\n", yaml_string(data_.license->id));
      if (!data_.license->name.empty()) add("license_name: {}\n", yaml_string(data_.license->name));
      if (!data_.license->link.empty()) add("license_link: {}\n", yaml_string(data_.license->link));
    }
    out_ += "library_name: hlwq\npipeline_tag: text-generation\ntags:\n- hlwq\n";
    if (coded()) out_ += "- quantized\n";
    if (of.architecture == "NemotronHForCausalLM") out_ += "- nemotron-h\n";
    out_ += "---\n";
  }

  void add_summary() {
    const InspectReport& of = data_.checkpoint;
    if (!coded()) {
      add("A plain checkpoint: {}.\n", escape_markdown(of.variant));
      return;
    }
    const std::string base =
        of.base_model.empty() ? "A model" : "**" + escape_markdown(of.base_model) + "**";
    add("{} in HLWQ: rotated weights on a codebook in blocks of 128, {:.3f} bits for each "
        "quantized "
        "weight, norms included. hlwq runs it on these codes, without expanding them.\n",
        base, *of.coded_bits_per_weight);
  }

  void add_facts() {
    const InspectReport& of = data_.checkpoint;
    std::map<int, int64_t> tensors_of;  // by width; 0: kept
    for (const InspectedTensor& tensor : of.tensors) ++tensors_of[tensor.bits];
    out_ += "\n## What it is\n\n| | |\n| --- | --- |\n";
    const auto row = [&](const char* name, const std::string& value) {
      add("| {} | {} |\n", name, value);
    };
    row("architecture", escape_markdown(of.architecture));
    row("format", escape_markdown(of.variant));
    row("parameters", chart::number_text(static_cast<double>(of.parameters)));
    row("weight files", format_bytes(static_cast<int64_t>(of.bytes)) +
                            (of.parameters > 0 && of.bytes > 0 && coded()
                                 ? fmt::format(" (2 bytes a parameter would be {})",
                                               format_bytes(2 * of.parameters))
                                 : ""));
    for (const auto& [bits, count] : tensors_of)
      row(bits == 0 ? "tensors kept as they were" : "tensors in codes",
          bits == 0 ? fmt::format("{}", count) : fmt::format("{} of {} bits", count, bits));
    for (const InspectedCodebook& book : of.codebooks)
      row("codebook", fmt::format("{} bits: {}", book.bits, escape_markdown(book.origin)));
    if (!of.quantization.empty()) row("quantized with", escape_markdown(of.quantization));
    if (!of.missing.empty())
      row("missing tensors",
          fmt::format("{}: the first is {}; `--base DIR` takes them from the original",
                      of.missing.size(), escape_markdown(of.missing.front())));
  }

  void add_usage() {
    out_ +=
        "\n## Run it\n\n```\nhlwq run   FOLDER -p \"The quick brown fox\"\n"
        "hlwq chat  FOLDER\n"
        "hlwq serve FOLDER                      # OpenAI's API and a web chat\n"
        "hlwq plan  FOLDER                      # how much GPU memory, how fast\n"
        "hlwq inspect FOLDER --verify           # decodes everything once\n";
    if (coded()) out_ += "hlwq dequantize FOLDER -o PLAIN        # for transformers and vLLM\n";
    out_ += "```\n\n`FOLDER` is this repository, downloaded.\n";
  }

  void add_charts() {
    if (data_.charts.empty()) return;
    out_ += "\n## Charts\n";
    for (const std::string& name : data_.charts)
      add("\n[![{0}](charts/{0}.png)](charts/{0}.svg)\n", name);
  }

  void add_caveats() {
    out_ += "\n## Caveats\n\n";
    if (coded())
      out_ +=
          "- Quantization changes the model's predictions. Texts, languages and tasks that are not "
          "named "
          "under Quality were not measured.\n";
    out_ +=
        "- Speeds are of the machine and settings named beside them.\n"
        "- Everything the original's card says of use, bias and license holds here too.\n";
  }

  const CardData& data_;
  std::string out_;
};

}  // namespace

std::string make_card(const CardData& data) { return Card(data).write(); }

}  // namespace hlwq::card
