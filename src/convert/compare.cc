#include "convert/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/cpu_features.h"
#include "base/float_mode.h"
#include "base/thread_pool.h"
#include "convert/name_plan.h"
#include "convert/tensor_kind.h"
#include "quant/encode.h"

namespace hlwq {
namespace {

constexpr int64_t kTaskElements = 1 << 19;

Distortion distortion_of(std::span<const float> a, std::span<const float> b) {
  Distortion sum;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = a[i], y = b[i];
    sum.ww += x * x;
    sum.dd += y * y;
    sum.wd += x * y;
  }
  sum.count = static_cast<int64_t>(a.size());
  return sum;
}

struct KindSum {
  Distortion distortion;
  ComparedKind kind;

  void add(const Distortion& of_tensor) {
    const double cosine = of_tensor.cosine();
    distortion.add(of_tensor);
    kind.cosine_min = kind.tensors == 0 ? cosine : std::min(kind.cosine_min, cosine);
    kind.cosine_mean = kind.tensors == 0 ? cosine : kind.cosine_mean + cosine;
    ++kind.tensors;
  }
};

struct Pair {
  const SourceTensor* a;
  const SourceTensor* b;
};

Result<std::vector<Pair>> pair_up(const Source& a, const Source& b) {
  std::map<std::string_view, const SourceTensor*> by_name;
  for (const SourceTensor& tensor : b.tensors) by_name[tensor.name] = &tensor;
  std::vector<Pair> pairs;
  for (const SourceTensor& tensor : a.tensors) {
    const auto it = by_name.find(tensor.name);
    if (it == by_name.end())
      return fail(ErrorCode::kBadLayout,
                  fmt::format("compare: {} is only in the first checkpoint", tensor.name));
    if (it->second->shape != tensor.shape)
      return fail(ErrorCode::kBadLayout,
                  fmt::format("compare: {} has different shapes", tensor.name));
    pairs.push_back({&tensor, it->second});
    by_name.erase(it);
  }
  if (!by_name.empty())
    return fail(ErrorCode::kBadLayout, fmt::format("compare: {} is only in the second checkpoint",
                                                   by_name.begin()->first));
  return pairs;
}

Result<Distortion> compare_pair(const Pair& pair, ThreadPool& pool) {
  const std::vector<int64_t>& shape = pair.a->shape;
  const int64_t rows = shape.empty() ? 1 : shape[0];
  int64_t width = 1;
  for (size_t d = 1; d < shape.size(); ++d) width *= shape[d];
  const bool sliced = pair.a->slice >= 0 || pair.b->slice >= 0;
  const int64_t step = sliced ? std::max<int64_t>(rows, 1)
                              : std::max<int64_t>(1, kTaskElements / std::max<int64_t>(width, 1));
  const int64_t tasks = (rows + step - 1) / step;
  std::vector<Result<Distortion>> parts(static_cast<size_t>(tasks));
  pool.run(tasks, [&](int64_t t) {
    parts[static_cast<size_t>(t)] = [&]() -> Result<Distortion> {
      const int64_t first = t * step, n = std::min(step, rows - first);
      std::vector<float> x(static_cast<size_t>(n * width)), y(x.size());
      HLWQ_TRY(read_rows_f32(*pair.a, first, n, x));
      HLWQ_TRY(read_rows_f32(*pair.b, first, n, y));
      return distortion_of(x, y);
    }();
  });
  Distortion sum;
  for (Result<Distortion>& part : parts) {
    if (!part) return tl::unexpected<Error>(std::move(part).error());
    sum.add(*part);
  }
  return sum;
}

}  // namespace

Result<CompareReport> compare_checkpoints(const std::string& path_a, const std::string& path_b,
                                          int threads, const ConvertProgress& progress) {
  const PinnedFloatMode pinned;
  HLWQ_TRY_ASSIGN(const Source a, open_source(path_a));
  HLWQ_TRY_ASSIGN(const Source b, open_source(path_b));
  HLWQ_TRY_ASSIGN(const std::vector<Pair> pairs, pair_up(a, b));
  ThreadPool pool(threads > 0 ? threads : usable_cpus());
  CompareReport report;
  Distortion all;
  double cosine_sum = 0;
  std::map<std::string, KindSum> kinds;
  uint64_t done = 0;
  for (const Pair& pair : pairs) {
    if (!pair.a->stored->coded && !is_weight_float(pair.a->stored->dtype)) continue;
    HLWQ_TRY_ASSIGN(const Distortion distortion, compare_pair(pair, pool));
    all.add(distortion);
    kinds[kind_of(pair.a->name)].add(distortion);
    const double cosine = distortion.cosine();
    report.tensors.push_back({pair.a->name, cosine, distortion.snr_db()});
    cosine_sum += cosine;
    if (cosine < report.cosine_min) {
      report.cosine_min = cosine;
      report.cosine_min_name = pair.a->name;
    }
    done += pair.a->stored->stored_bytes /
            (pair.a->slice >= 0 ? static_cast<uint64_t>(pair.a->stored->shape[0]) : 1);
    if (progress && !progress(done, a.checkpoint->bytes()))
      return fail(ErrorCode::kCancelled, "compare: cancelled");
  }
  if (!report.tensors.empty()) cosine_sum /= static_cast<double>(report.tensors.size());
  report.cosine_mean = report.tensors.empty() ? 1 : cosine_sum;
  report.snr_db = all.snr_db();
  for (auto& [name, sum] : kinds) {
    sum.kind.name = name;
    sum.kind.cosine_mean /= static_cast<double>(sum.kind.tensors);
    sum.kind.snr_db = sum.distortion.snr_db();
    report.kinds.push_back(std::move(sum.kind));
  }
  return report;
}

}  // namespace hlwq
