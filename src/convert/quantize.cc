#include "convert/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "base/cpu_features.h"
#include "base/float_mode.h"
#include "base/thread_pool.h"
#include "convert/config_text.h"
#include "convert/name_plan.h"
#include "convert/output_folder.h"
#include "convert/tensor_kind.h"
#include "io/file.h"
#include "quant/block.h"
#include "quant/policy.h"

namespace hlwq {
namespace {

constexpr int64_t kTaskWeights = 512 * 1024;   // weights a task reads and encodes at a time
constexpr int64_t kPlainChunkBytes = 4 << 20;  // bytes of a kept tensor copied at a time

// One run: what all of its steps share.
struct Job {
  const Source& source;
  const QuantizeOptions& options;
  const std::vector<OutputTensor>& planned;
  HlwqWriter& writer;
  ThreadPool& pool;
  uint64_t total_bytes;
  std::atomic<uint64_t> done_bytes{0};
  bool cancelled = false;

  // False when the caller wants to stop.
  bool report() {
    if (options.progress && !options.progress(done_bytes.load(), total_bytes)) cancelled = true;
    return !cancelled;
  }
};

Error in_tensor(Error error, const std::string& name, int64_t first_row) {
  error.message = fmt::format("{} (rows from {}): {}", name, first_row, error.message);
  return error;
}

// Encodes rows [first, first + rows) of a tensor and writes them.
Result<Distortion> encode_range(Job& job, size_t index, int64_t first, int64_t rows) {
  const SourceTensor& tensor = job.source.tensors[index];
  const int64_t cols = tensor.shape[1];
  const int64_t blocks = blocks_of(cols);
  std::vector<float> weights(static_cast<size_t>(rows * cols));
  std::vector<uint8_t> codes(static_cast<size_t>(rows * blocks * kBlock));
  std::vector<uint16_t> norms(static_cast<size_t>(rows * blocks));
  HLWQ_TRY(read_rows_f32(tensor, first, rows, weights));
  const Calibration* const calibration = job.options.calibration;
  const Levels& levels = codebook(job.options.codebook, job.planned[index].bits);
  auto distortion = calibration != nullptr && calibration->knows(tensor.name)
                        ? calibration->encode(tensor.name, weights, levels, codes, norms)
                        : encode_rows(weights, cols, levels, job.options.norms, codes, norms);
  if (!distortion)
    return tl::unexpected<Error>(in_tensor(std::move(distortion).error(), tensor.name, first));
  HLWQ_TRY(job.writer.write_rows(index, first, codes, norms));
  return *distortion;
}

Result<Distortion> encode_tensor(Job& job, size_t index) {
  const SourceTensor& tensor = job.source.tensors[index];
  const int64_t rows = tensor.shape[0], cols = tensor.shape[1];
  // A slice of a fused tensor is read whole by read_rows_f32, so it is one task.
  const int64_t rows_per_task =
      tensor.slice >= 0 ? rows
                        : std::clamp<int64_t>(kTaskWeights / std::max<int64_t>(cols, 1), 1, rows);
  const int64_t tasks = (rows + rows_per_task - 1) / rows_per_task;
  std::vector<Result<Distortion>> parts(static_cast<size_t>(tasks));
  const int64_t wave = 4 * job.pool.threads();  // progress and cancellation between waves
  for (int64_t begin = 0; begin < tasks; begin += wave) {
    job.pool.run(std::min(wave, tasks - begin), [&](int64_t t) {
      const int64_t first = (begin + t) * rows_per_task;
      const int64_t n = std::min(rows_per_task, rows - first);
      parts[static_cast<size_t>(begin + t)] = encode_range(job, index, first, n);
      job.done_bytes += static_cast<uint64_t>(n * cols * bytes_of(tensor.stored->dtype));
    });
    if (!job.report()) return fail(ErrorCode::kCancelled, "quantize: cancelled");
  }
  Distortion sum;
  for (Result<Distortion>& part : parts) {
    if (!part) return tl::unexpected<Error>(std::move(part).error());
    sum.add(*part);
  }
  return sum;
}

// Rejects NaN and infinity in a kept tensor's bytes.
Status check_finite(const SourceTensor& tensor, std::span<const std::byte> bytes) {
  const DType dtype = tensor.stored->dtype;
  if (!is_weight_float(dtype)) return {};
  const auto width = static_cast<size_t>(bytes_of(dtype));
  for (size_t i = 0; i + width <= bytes.size(); i += width) {
    uint32_t bits = 0;
    std::memcpy(&bits, bytes.data() + i, width);
    const uint32_t exponent = dtype == DType::kF32    ? 0x7f800000u
                              : dtype == DType::kBF16 ? 0x7f80u
                                                      : 0x7c00u;
    if ((bits & exponent) == exponent)
      return fail(ErrorCode::kBadValue,
                  fmt::format("{}: element {} is not finite", tensor.name, i / width));
  }
  return {};
}

Status copy_tensor(Job& job, size_t index) {
  const SourceTensor& tensor = job.source.tensors[index];
  const Checkpoint& checkpoint = *tensor.checkpoint;
  const int64_t stored_rows = tensor.slice >= 0 ? 1 : tensor.shape.empty() ? 1 : tensor.shape[0];
  int64_t row_bytes = bytes_of(tensor.stored->dtype);
  for (size_t d = tensor.slice >= 0 ? 0 : 1; d < tensor.shape.size(); ++d)
    row_bytes *= tensor.shape[d];
  const int64_t step = std::max<int64_t>(1, kPlainChunkBytes / std::max<int64_t>(row_bytes, 1));
  std::vector<std::byte> bytes;
  for (int64_t first = 0; first < stored_rows; first += step) {
    const int64_t n = std::min(step, stored_rows - first);
    bytes.resize(static_cast<size_t>(n * row_bytes));
    const int64_t stored_first = tensor.slice >= 0 ? tensor.slice : first;
    HLWQ_TRY(checkpoint.read_plain(*tensor.stored, stored_first, n, bytes));
    HLWQ_TRY(check_finite(tensor, bytes));
    HLWQ_TRY(job.writer.write_plain(index, static_cast<uint64_t>(first * row_bytes), bytes));
    job.done_bytes += bytes.size();
    if (!job.report()) return fail(ErrorCode::kCancelled, "quantize: cancelled");
  }
  return {};
}

// The calibration learns about as many of the coded matrices in [first, last) as it can at once.
// Returns the first tensor it does not know about.
Result<size_t> learn_some(Job& job, size_t first, size_t last) {
  std::vector<MatrixName> matrices;
  std::vector<size_t> places;
  for (size_t i = first; i < last; ++i) {
    const OutputTensor& tensor = job.planned[i];
    if (!tensor.coded) continue;
    matrices.push_back({tensor.name, tensor.shape[1]});
    places.push_back(i);
  }
  if (matrices.empty()) return last;
  const size_t count = job.options.calibration->fits(matrices);
  HLWQ_TRY(job.options.calibration->learn(std::span(matrices).first(count)));
  return count < places.size() ? places[count] : last;
}

std::vector<OutputTensor> plan_tensors(const Source& source, const QuantizeOptions& options) {
  std::vector<OutputTensor> tensors;
  for (const SourceTensor& tensor : source.tensors) {
    const auto other = options.bits_of_kind.find(kind_of(tensor.name));
    const int bits = other == options.bits_of_kind.end() ? options.bits : other->second;
    tensors.push_back(
        {tensor.name, tensor.shape, is_coded(tensor, options), bits, tensor.stored->dtype});
  }
  return tensors;
}

double bits_per_weight(std::span<const OutputTensor> tensors) {
  double bits = 0, weights = 0;
  for (const OutputTensor& tensor : tensors) {
    if (!tensor.coded) continue;
    const auto rows = static_cast<double>(tensor.shape[0]);
    weights += rows * static_cast<double>(tensor.shape[1]);
    bits += rows * static_cast<double>(blocks_of(tensor.shape[1]) * (kBlock * tensor.bits + 16));
  }
  return weights > 0 ? bits / weights : 0;
}

uint64_t element_bytes(const SourceTensor& tensor) {
  uint64_t bytes = static_cast<uint64_t>(bytes_of(tensor.stored->dtype));
  for (const int64_t d : tensor.shape) bytes *= static_cast<uint64_t>(d);
  return bytes;
}

std::string quantization_config(const QuantizeOptions& options) {
  const std::string_view format =
      options.profile == Profile::kHlwqQ5 ? "hlwq-q5" : "polar_engine_v5";
  return fmt::format(
      R"({{"quant_method": "polarengine", "format": "{}", "bits": {}, "block_size": {}}})", format,
      options.bits, kBlock);
}

// In polar_config.json, and in each shard's fingerprint: a resumed run must have the same settings.
std::string describe(const QuantizeOptions& options) {
  const auto codebook_name = options.codebook == CodebookKind::kGrid      ? "grid"
                             : options.codebook == CodebookKind::kOptimal ? "optimal"
                             : options.codebook == CodebookKind::kWire    ? "published"
                                                                          : "published KV";
  const auto norms_name = options.norms == NormRule::kSearch         ? "search"
                          : options.norms == NormRule::kLeastSquares ? "least-squares"
                                                                     : "plain";
  std::string text =
      fmt::format("HLWQ Q{}: {} codebook, {} norms", options.bits, codebook_name, norms_name);
  for (const auto& [kind, bits] : options.bits_of_kind) {
    if (bits != options.bits) text += fmt::format(", {} Q{}", kind, bits);
  }
  if (options.calibration != nullptr) text += ", " + options.calibration->description();
  return text;
}

Status check_options(const QuantizeOptions& options) {
  const auto check = [](int bits) -> Status {
    if (bits >= kMinBits && bits <= kMaxBits) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} bits: wanted {} to {}", bits, kMinBits, kMaxBits));
  };
  HLWQ_TRY(check(options.bits));
  for (const auto& [kind, bits] : options.bits_of_kind) HLWQ_TRY(check(bits));
  if (options.profile == Profile::kHlwqQ5 &&
      (options.bits != 5 || options.codebook != CodebookKind::kWire))
    return fail(ErrorCode::kInvalidArgument,
                "profile hlwq-q5 carries no table: it needs 5 bits and the published codebook");
  return {};
}

}  // namespace

bool is_coded(const SourceTensor& tensor, const QuantizeOptions& options) {
  return tensor.shape.size() == 2 && is_weight_float(tensor.stored->dtype) &&
         !keeps_precision(tensor.name, tensor.shape, options.keep);
}

Result<QuantizeReport> quantize_checkpoint(const std::string& source_path, const std::string& out,
                                           const QuantizeOptions& options) {
  const PinnedFloatMode pinned;
  const auto started = std::chrono::steady_clock::now();
  HLWQ_TRY(check_options(options));
  HLWQ_TRY_ASSIGN(const Source source, open_source(source_path));
  if (source.checkpoint->variant() != Variant::kPlain)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: already HLWQ ({}); dequantize it first", source_path,
                            name_of(source.checkpoint->variant())));
  HLWQ_TRY(require_complete(source, source_path));
  HLWQ_TRY(require_different(source_path, out));

  const std::vector<OutputTensor> planned = plan_tensors(source, options);
  QuantizeReport report;
  report.tensors = static_cast<int64_t>(planned.size());
  report.quantized =
      std::count_if(planned.begin(), planned.end(), [](const auto& t) { return t.coded; });
  report.kept = report.tensors - report.quantized;
  report.input_bytes = source.checkpoint->bytes();

  report.bits_per_weight = bits_per_weight(planned);
  WriterOptions writer_options{.profile = options.profile,
                               .base_model = base_model_name(source_path),
                               .shard_bytes = options.shard_bytes,
                               .resume = options.resume,
                               .levels_by_bits = std::vector<Levels>(kMaxBits + 1),
                               .notes = {describe(options)}};
  for (const OutputTensor& tensor : planned) {
    Levels& levels = writer_options.levels_by_bits[static_cast<size_t>(tensor.bits)];
    if (tensor.coded && levels.empty()) levels = codebook(options.codebook, tensor.bits);
  }
  if (!options.dry_run) HLWQ_TRY(prepare_output_folder(out, options.force, options.resume));
  HLWQ_TRY_ASSIGN(HlwqWriter writer, HlwqWriter::create(out, planned, writer_options));
  report.output_bytes = writer.bytes();
  const auto finish = [&] {
    report.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    return report;
  };
  if (options.dry_run) return finish();

  ThreadPool pool(options.threads > 0 ? options.threads : usable_cpus());
  uint64_t total_bytes = 0;
  for (const SourceTensor& tensor : source.tensors) total_bytes += element_bytes(tensor);
  Job job{source, options, planned, writer, pool, total_bytes};
  Distortion all;
  double cosine_sum = 0;
  for (size_t shard = 0; shard < writer.shard_count(); ++shard) {
    const auto [first, last] = writer.shard_tensors(shard);
    if (writer.shard_done(shard)) {
      for (size_t i = first; i < last; ++i) job.done_bytes += element_bytes(source.tensors[i]);
      continue;
    }
    HLWQ_TRY(writer.begin_shard(shard));
    size_t known_until = first;
    for (size_t i = first; i < last; ++i) {
      if (options.calibration != nullptr && i == known_until) {
        HLWQ_TRY_ASSIGN(known_until, learn_some(job, i, last));
      }
      if (!planned[i].coded) {
        HLWQ_TRY(copy_tensor(job, i));
        continue;
      }
      HLWQ_TRY_ASSIGN(const Distortion distortion, encode_tensor(job, i));
      all.add(distortion);
      const double cosine = distortion.cosine();
      cosine_sum += cosine;
      ++report.measured;
      if (cosine < report.cosine_min) {
        report.cosine_min = cosine;
        report.cosine_min_name = planned[i].name;
      }
    }
    HLWQ_TRY(writer.end_shard());
  }
  HLWQ_TRY(writer.finish());
  if (options.calibration != nullptr) report.uncovered = options.calibration->uncovered();
  if (report.measured > 0) {
    report.cosine_mean = cosine_sum / static_cast<double>(report.measured);
    report.snr_db = all.snr_db();
  }
  HLWQ_TRY(copy_model_files(source_path, out, "quantization_config", quantization_config(options)));
  return finish();
}

}  // namespace hlwq
