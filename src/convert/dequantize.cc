#include "convert/dequantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "base/cpu_features.h"
#include "base/float16.h"
#include "base/float_mode.h"
#include "base/thread_pool.h"
#include "convert/name_plan.h"
#include "convert/output_folder.h"
#include "io/shards.h"

namespace hlwq {
namespace {

constexpr int64_t kTaskElements = 1 << 20;  // elements decoded at a time by one thread

DType output_dtype(const CheckpointTensor& stored, DType wanted) {
  if (stored.coded) return wanted;
  if (!is_weight_float(stored.dtype)) return stored.dtype;
  return stored.dtype == DType::kF32 ? DType::kF32 : wanted;
}

int64_t product(std::span<const int64_t> shape, size_t from) {
  int64_t count = 1;
  for (size_t d = from; d < shape.size(); ++d) count *= shape[d];
  return count;
}

// Narrows to `dtype`. Errors: kBadValue when F16 cannot hold a finite value.
Status narrow(std::span<const float> values, DType dtype, std::span<std::byte> out) {
  if (dtype == DType::kF32) {
    std::memcpy(out.data(), values.data(), values.size_bytes());
    return {};
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = dtype == DType::kBF16 ? f32_to_bf16(values[i]) : f32_to_f16(values[i]);
    if (dtype == DType::kF16 && (bits & 0x7fffu) == 0x7c00u && std::isfinite(values[i]))
      return fail(ErrorCode::kBadValue,
                  fmt::format("value {} does not fit F16; use --dtype bf16", values[i]));
    std::memcpy(out.data() + 2 * i, &bits, 2);
  }
  return {};
}

// Converts rows [first, first + rows) of dimension 0 (for a slice: of the slice's own).
Status convert_range(const SourceTensor& tensor, SafetensorsWriter& writer, size_t index,
                     DType dtype, int64_t first, int64_t rows) {
  const int64_t width = product(tensor.shape, 1);
  const auto offset = static_cast<uint64_t>(first * width * bytes_of(dtype));
  std::vector<std::byte> bytes(static_cast<size_t>(rows * width * bytes_of(dtype)));
  if (!tensor.stored->coded && tensor.stored->dtype == dtype && tensor.slice < 0) {
    HLWQ_TRY(tensor.checkpoint->read_plain(*tensor.stored, first, rows, bytes));
  } else {
    std::vector<float> values(static_cast<size_t>(rows * width));
    HLWQ_TRY(read_rows_f32(tensor, first, rows, values));
    if (Status narrowed = narrow(values, dtype, bytes); !narrowed)
      return fail(narrowed.error().code,
                  fmt::format("{}: {}", tensor.name, narrowed.error().message));
  }
  return writer.write(index, offset, bytes);
}

}  // namespace

Result<DequantizeReport> dequantize_checkpoint(const std::string& source_path,
                                               const std::string& out,
                                               const DequantizeOptions& options) {
  const PinnedFloatMode pinned;
  const auto started = std::chrono::steady_clock::now();
  HLWQ_TRY_ASSIGN(const Source source, open_source(source_path, options.base));
  HLWQ_TRY(require_complete(source, source_path));
  HLWQ_TRY(require_different(source_path, out));
  HLWQ_TRY(prepare_output_folder(out, options.force, /*resume=*/false));

  DequantizeReport report;
  report.input_bytes = source.checkpoint->bytes();
  report.tensors = static_cast<int64_t>(source.tensors.size());
  report.from_base = source.from_base;

  std::vector<TensorEntry> entries;
  uint64_t total_bytes = 0, done_bytes = 0;
  for (const SourceTensor& tensor : source.tensors) {
    TensorEntry entry;
    entry.name = tensor.name;
    entry.dtype = output_dtype(*tensor.stored, options.dtype);
    entry.shape = tensor.shape;
    HLWQ_TRY_ASSIGN(const uint64_t bytes, checked_bytes(entry.name, entry.dtype, entry.shape));
    total_bytes += bytes;
    entries.push_back(std::move(entry));
  }
  report.output_bytes = total_bytes;

  ThreadPool pool(options.threads > 0 ? options.threads : usable_cpus());
  const std::vector<std::vector<TensorEntry>> shards = plan_shards(entries, options.shard_bytes);
  size_t next = 0;  // of source.tensors: shards keep the order
  for (size_t s = 0; s < shards.size(); ++s) {
    HLWQ_TRY_ASSIGN(SafetensorsWriter writer,
                    SafetensorsWriter::create(out + "/" + shard_file_name(s, shards.size()),
                                              shards[s], {{"format", "pt"}}));
    for (size_t i = 0; i < shards[s].size(); ++i, ++next) {
      const SourceTensor& tensor = source.tensors[next];
      const DType dtype = entries[next].dtype;
      const int64_t rows = tensor.shape.empty() ? 1 : tensor.shape[0];
      const int64_t width = std::max<int64_t>(1, product(tensor.shape, 1));
      const int64_t step = tensor.slice >= 0 ? std::max<int64_t>(rows, 1)
                                             : std::max<int64_t>(1, kTaskElements / width);
      const int64_t tasks = (rows + step - 1) / step;
      std::vector<Status> statuses(static_cast<size_t>(tasks));
      pool.run(tasks, [&](int64_t t) {
        statuses[static_cast<size_t>(t)] =
            convert_range(tensor, writer, i, dtype, t * step, std::min(step, rows - t * step));
      });
      for (Status& status : statuses) HLWQ_TRY(std::move(status));
      done_bytes += static_cast<uint64_t>(rows * width * bytes_of(dtype));
      if (options.progress && !options.progress(done_bytes, total_bytes))
        return fail(ErrorCode::kCancelled, "dequantize: cancelled");
    }
    HLWQ_TRY(writer.commit());
  }
  HLWQ_TRY(write_shard_index(out, shards));
  HLWQ_TRY(copy_model_files(source_path, out, "quantization_config", ""));
  report.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return report;
}

}  // namespace hlwq
