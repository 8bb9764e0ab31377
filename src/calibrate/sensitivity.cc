#include "calibrate/sensitivity.h"

#include <algorithm>
#include <map>

#include "base/check.h"
#include "convert/tensor_kind.h"
#include "runtime/row_statistics.h"

namespace hlwq {
namespace {

constexpr int64_t kTaskWeights = 512 * 1024;
constexpr int64_t kSampledRows = 64, kSampledMatrices = 8;  // for the errors by width
constexpr int64_t kReferenceBytes = int64_t{1} << 30;       // of logits that are kept

// Logits of the original over the compared windows.
struct Reference {
  int64_t windows = 0;
  std::vector<float> logits;  // [windows * window, vocabulary]
};

Result<Reference> take_reference(TextModel& model, int64_t tokens) {
  const int64_t window = model.text().window, width = model.vocabulary();
  const int64_t row_bytes = width * static_cast<int64_t>(sizeof(float));
  Reference reference;
  reference.windows = std::clamp<int64_t>(std::min(tokens, kReferenceBytes / row_bytes) / window, 1,
                                          model.windows());
  reference.logits.resize(static_cast<size_t>(reference.windows * window * width));
  HLWQ_TRY(model.run(reference.windows, [&](int64_t first, F32View logits) {
    for (int64_t r = 0; r < logits.rows; ++r)
      std::copy_n(logits.row(r), width, reference.logits.data() + (first * window + r) * width);
  }));
  return reference;
}

// Mean KL of the model as it is now.
Result<double> compare(TextModel& model, const Reference& reference) {
  const int64_t window = model.text().window, width = model.vocabulary();
  std::vector<double> kl(static_cast<size_t>(reference.windows * window));
  HLWQ_TRY(model.run(reference.windows, [&](int64_t first, F32View logits) {
    model.pool().run(logits.rows, [&](int64_t r) {
      const int64_t at = first * window + r;
      const std::span<const float> wanted(reference.logits.data() + at * width,
                                          static_cast<size_t>(width));
      kl[static_cast<size_t>(at)] =
          compare_rows(wanted, {logits.row(r), static_cast<size_t>(width)}, /*target=*/0).kl;
    });
  }));
  double sum = 0;
  for (const double value : kl) sum += value;
  return sum / static_cast<double>(kl.size());
}

// Codes rows; `decoded` (may be null) gets what the codes say.
Result<Distortion> code_rows(std::span<const float> rows, int64_t cols, int bits,
                             const SensitivityOptions& options, std::vector<float>* decoded) {
  const Levels& levels = codebook(options.codebook, bits);
  const int64_t count = static_cast<int64_t>(rows.size()) / cols, blocks = blocks_of(cols);
  std::vector<uint8_t> codes(static_cast<size_t>(count * blocks * kBlock));
  std::vector<uint16_t> norms(static_cast<size_t>(count * blocks));
  HLWQ_TRY_ASSIGN(const Distortion distortion,
                  encode_rows(rows, cols, levels, options.norms, codes, norms));
  if (decoded != nullptr) {
    decoded->resize(rows.size());
    decode_rows(codes, norms, cols, levels, *decoded);
  }
  return distortion;
}

enum class Rows { kCoded, kOriginal };

// Puts a matrix of the model into one of its two states.
Status put_matrix(TextModel& model, const SourceTensor& tensor, Rows state,
                  const SensitivityOptions& options) {
  const int64_t rows = tensor.shape[0], cols = tensor.shape[1];
  const Matrix& matrix = *model.find(tensor.name);
  const int64_t step = tensor.slice >= 0 ? rows : std::clamp<int64_t>(kTaskWeights / cols, 1, rows);
  const int64_t tasks = (rows + step - 1) / step;
  std::vector<Status> done(static_cast<size_t>(tasks));
  const int64_t wave = 4 * model.pool().threads();
  for (int64_t begin = 0; begin < tasks; begin += wave) {
    const int64_t now = std::min(wave, tasks - begin);
    std::vector<std::vector<float>> parts(static_cast<size_t>(now));
    model.pool().run(now, [&](int64_t t) {
      const int64_t first = (begin + t) * step, n = std::min(step, rows - first);
      std::vector<float>& part = parts[static_cast<size_t>(t)];
      part.resize(static_cast<size_t>(n * cols));
      Status& status = done[static_cast<size_t>(begin + t)];
      status = read_rows_f32(tensor, first, n, part);
      if (!status || state == Rows::kOriginal) return;
      std::vector<float> decoded;
      if (const auto coded = code_rows(part, cols, options.probe_bits, options, &decoded); !coded)
        status = tl::unexpected(coded.error());
      else
        part = std::move(decoded);
    });
    for (int64_t t = 0; t < now; ++t) {
      HLWQ_TRY(done[static_cast<size_t>(begin + t)]);
      model.replace_rows(matrix, (begin + t) * step, parts[static_cast<size_t>(t)]);
    }
  }
  return {};
}

Status put_kind(TextModel& model, const std::vector<const SourceTensor*>& tensors, Rows state,
                const SensitivityOptions& options) {
  for (const SourceTensor* tensor : tensors) HLWQ_TRY(put_matrix(model, *tensor, state, options));
  return {};
}

// By sampled rows of sampled matrices.
Status measure_errors(const std::vector<const SourceTensor*>& tensors,
                      const SensitivityOptions& options, KindSensitivity& kind) {
  std::array<Distortion, kMostBits + 1> sums;
  const size_t every = std::max<size_t>(tensors.size() / kSampledMatrices, 1);
  for (size_t i = 0; i < tensors.size(); i += every) {
    const SourceTensor& tensor = *tensors[i];
    const int64_t rows = std::min(kSampledRows, tensor.shape[0]), cols = tensor.shape[1];
    std::vector<float> sample(static_cast<size_t>(rows * cols));
    HLWQ_TRY(read_rows_f32(tensor, 0, rows, sample));
    for (int bits = kLeastBits; bits <= kMostBits; ++bits) {
      HLWQ_TRY_ASSIGN(const Distortion distortion, code_rows(sample, cols, bits, options, nullptr));
      sums[static_cast<size_t>(bits)].add(distortion);
    }
  }
  for (int bits = kLeastBits; bits <= kMostBits; ++bits) {
    const Distortion& sum = sums[static_cast<size_t>(bits)];
    kind.error[static_cast<size_t>(bits)] =
        sum.ww > 0 ? std::max(sum.ww - 2 * sum.wd + sum.dd, 0.0) / sum.ww : 0.0;
  }
  return {};
}

}  // namespace

Result<std::vector<KindSensitivity>> measure_sensitivity(TextModel& model,
                                                         const std::vector<SourceTensor>& tensors,
                                                         const SensitivityOptions& options) {
  std::map<std::string, std::vector<const SourceTensor*>> kinds;
  for (const SourceTensor& tensor : tensors) {
    if (model.find(tensor.name) != nullptr) kinds[kind_of(tensor.name)].push_back(&tensor);
  }
  HLWQ_TRY_ASSIGN(const Reference reference, take_reference(model, options.tokens));
  std::vector<KindSensitivity> result;
  for (const auto& [name, members] : kinds) {
    KindSensitivity kind{.kind = name};
    for (const SourceTensor* tensor : members) {
      ++kind.matrices;
      kind.weights += tensor->shape[0] * tensor->shape[1];
      kind.padded += tensor->shape[0] * blocks_of(tensor->shape[1]) * kBlock;
    }
    HLWQ_TRY(measure_errors(members, options, kind));
    HLWQ_TRY(put_kind(model, members, Rows::kCoded, options));
    HLWQ_TRY_ASSIGN(kind.probe_kl, compare(model, reference));
    HLWQ_TRY(put_kind(model, members, Rows::kOriginal, options));
    result.push_back(std::move(kind));
  }
  return result;
}

}  // namespace hlwq
