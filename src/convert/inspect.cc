#include "convert/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/cpu_features.h"
#include "base/thread_pool.h"
#include "convert/name_plan.h"
#include "model/architecture.h"
#include "quant/block.h"

namespace hlwq {
namespace {

constexpr int64_t kTaskElements = 1 << 20;

std::string_view packing_name(Packing packing) {
  switch (packing) {
    case Packing::kI8:
      return "int8";
    case Packing::kNibble:
      return "nibbles";
    case Packing::kLsb:
      return "lsb stream";
    case Packing::kMsb:
      return "msb stream";
  }
  return "?";
}

std::string origin_of(const Levels& levels, bool in_file, int bits) {
  if (levels == codebook(CodebookKind::kGrid, bits)) return "grid";
  if (levels == codebook(CodebookKind::kWire, bits))
    return in_file ? "published" : "published, implied";
  if (levels == codebook(CodebookKind::kOptimal, bits)) return "optimal";
  if (levels == codebook(CodebookKind::kKv, bits)) return "published KV table";
  return "of the file";
}

int64_t elements(const CheckpointTensor& tensor) {
  int64_t count = 1;
  for (const int64_t d : tensor.shape) count *= d;
  return count;
}

// Decodes a range; the first thing wrong with it, or success.
Status verify_range(const Checkpoint& checkpoint, const CheckpointTensor& tensor, int64_t first,
                    int64_t rows, int64_t width) {
  if (!tensor.coded && !is_weight_float(tensor.dtype)) return {};
  if (tensor.coded && !tensor.coded->flat) {
    const auto cells = static_cast<size_t>(rows * tensor.coded->blocks);
    std::vector<uint8_t> codes(cells * 128);
    std::vector<uint16_t> norms(cells);
    return checkpoint.read_codes(tensor, first, rows, codes, norms);
  }
  std::vector<float> values(static_cast<size_t>(rows * width));
  HLWQ_TRY(checkpoint.read_f32(tensor, first, rows, values));
  for (size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      return fail(ErrorCode::kBadValue, fmt::format("{}: element {} is not finite", tensor.name,
                                                    first * width + static_cast<int64_t>(i)));
  return {};
}

Result<std::vector<std::string>> verify(const Checkpoint& checkpoint,
                                        const InspectOptions& options) {
  std::vector<std::string> problems;
  ThreadPool pool(options.threads > 0 ? options.threads : usable_cpus());
  uint64_t done = 0;
  for (const CheckpointTensor& tensor : checkpoint.tensors()) {
    const int64_t rows = tensor.shape.empty() ? 1 : tensor.shape[0];
    const int64_t width =
        std::max<int64_t>(1, rows == 0 ? 1 : elements(tensor) / std::max<int64_t>(rows, 1));
    const int64_t step = std::max<int64_t>(1, kTaskElements / width);
    const int64_t tasks = (rows + step - 1) / step;
    std::vector<Status> statuses(static_cast<size_t>(tasks));
    pool.run(tasks, [&](int64_t t) {
      statuses[static_cast<size_t>(t)] =
          verify_range(checkpoint, tensor, t * step, std::min(step, rows - t * step), width);
    });
    for (const Status& status : statuses) {
      if (status) continue;
      problems.push_back(status.error().message);
      break;
    }
    done += tensor.stored_bytes;
    if (options.progress && !options.progress(done, checkpoint.bytes()))
      return fail(ErrorCode::kCancelled, "inspect: cancelled");
  }
  return problems;
}

}  // namespace

Result<InspectReport> inspect_checkpoint(const std::string& path, const InspectOptions& options) {
  HLWQ_TRY_ASSIGN(const Source source, open_source(path));
  const Checkpoint& checkpoint = *source.checkpoint;
  InspectReport report;
  report.format = checkpoint.variant() == Variant::kPlain ? "safetensors" : "HLWQ";
  report.variant = name_of(checkpoint.variant());
  report.architecture =
      source.config ? std::string(traits_of(source.config->architecture).class_name) : "unknown";
  report.bytes = checkpoint.bytes();
  report.missing = source.missing;
  report.quantization = checkpoint.quantization();
  report.base_model = checkpoint.base_model();
  uint64_t stored = 0;
  double coded_bits = 0, coded_parameters = 0;
  std::map<std::pair<int, Levels>, InspectedCodebook> books;
  for (const CheckpointTensor& tensor : checkpoint.tensors()) {
    InspectedTensor row{tensor.name, tensor.shape, std::string(name_of(tensor.dtype)), 0,
                        tensor.stored_bytes};
    if (tensor.coded) {
      row.bits = tensor.coded->bits;
      const double blocks = static_cast<double>(tensor.coded->rows * tensor.coded->blocks);
      coded_bits += blocks * (kBlock * row.bits + 16);
      coded_parameters += static_cast<double>(elements(tensor));
      row.kind = fmt::format("{}-bit {}", row.bits, packing_name(tensor.coded->packing));
      const Levels& levels = checkpoint.levels(tensor);
      InspectedCodebook& book = books[{row.bits, levels}];
      if (book.tensors++ == 0) {
        HLWQ_TRY_ASSIGN(const LevelGrid grid, snap_to_grid(levels));
        book.bits = row.bits;
        book.origin = origin_of(levels, tensor.coded->has_codebook, row.bits);
        book.snap_db = grid.snap_db;
        book.wide = grid.wide;
      }
    }
    report.parameters += elements(tensor);
    stored += tensor.stored_bytes;
    report.tensors.push_back(std::move(row));
  }
  for (auto& [key, book] : books) report.codebooks.push_back(std::move(book));
  if (report.parameters > 0)
    report.bits_per_weight =
        8.0 * static_cast<double>(stored) / static_cast<double>(report.parameters);
  if (coded_parameters > 0) report.coded_bits_per_weight = coded_bits / coded_parameters;
  report.unknown = source.unknown;
  if (options.verify) {
    HLWQ_TRY_ASSIGN(report.problems, verify(checkpoint, options));
  }
  return report;
}

}  // namespace hlwq
