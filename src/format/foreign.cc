#include "format/foreign.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <vector>

#include "io/printable.h"

namespace hlwq {
namespace {

namespace fs = std::filesystem;

// A tensor "<layer><suffix>" that only one foreign format has, provided "<layer><partner>" is there
// too ("" asks for none).
struct ForeignMark {
  std::string_view suffix, partner;
  std::string_view format;
};

constexpr ForeignMark kForeignMarks[] = {
    {".weight_packed", ".weight_scale", "a CompressedTensors (INT4) checkpoint"},
    {".weight_scale_2", ".weight", "an FP4 (ModelOpt NVFP4) checkpoint"},
    {".weight_scale_inv", ".weight", "a block-scaled FP8 checkpoint"},
    {".weight_scale", ".weight", "an FP8 checkpoint with weight scales"},
    {".input_scale", ".weight", "an FP8 checkpoint with activation scales"},
    {".qweight", ".scales", "a GPTQ or AWQ checkpoint"},
    {".weight.absmax", ".weight", "a bitsandbytes checkpoint"},
    {".codes", ".scales", "an EOQ absmax checkpoint"},
};

bool is_fp8(DType dtype) { return dtype == DType::kF8E4M3 || dtype == DType::kF8E5M2; }

}  // namespace

Status refuse_foreign_tensors(const ShardSet& shards) {
  for (const ForeignMark& mark : kForeignMarks) {
    for (const ShardTensor& tensor : shards.tensors()) {
      const std::string& name = tensor.entry->name;
      if (!name.ends_with(mark.suffix)) continue;
      const std::string layer = name.substr(0, name.size() - mark.suffix.size());
      if (!shards.find(layer + std::string(mark.partner))) continue;
      return fail(ErrorCode::kUnsupported,
                  fmt::format("{}: is {} (tensor \"{}\"), which is not read here; start from the "
                              "unquantized model",
                              shards.folder(), mark.format, printable(name)));
    }
  }
  for (const ShardTensor& tensor : shards.tensors()) {
    if (is_fp8(tensor.entry->dtype) && tensor.entry->name.ends_with(".weight"))
      return fail(
          ErrorCode::kUnsupported,
          fmt::format("{}: tensor \"{}\" is {}; FP8 weights are not read here", tensor.file->path(),
                      printable(tensor.entry->name), name_of(tensor.entry->dtype)));
  }
  return {};
}

Status refuse_foreign_folder(const std::string& path) {
  std::error_code error;
  fs::directory_iterator entries(path, error);
  if (error) return {};  // not a folder, or not readable: opening it says so
  std::vector<std::string> pickles, widths;
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    const std::string_view text = name;
    if (text.ends_with(".safetensors") || text == "model.safetensors.index.json") return {};
    if (text.ends_with(".bin") || text.ends_with(".pt") || text.ends_with(".pth"))
      pickles.push_back(name);
    if (text.size() == 3 && text.starts_with("PQ") && text[2] >= '2' && text[2] <= '8')
      widths.push_back(name);
  }
  if (!widths.empty())
    return fail(ErrorCode::kMissing, fmt::format("{}: holds one checkpoint a width; open {}/{}",
                                                 path, path, *std::ranges::max_element(widths)));
  if (!pickles.empty())
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{}: holds only pickles ({}); they can run code when loaded and are not "
                    "read here. Convert them to safetensors",
                    path, printable(*std::ranges::min_element(pickles))));
  return {};
}

}  // namespace hlwq
