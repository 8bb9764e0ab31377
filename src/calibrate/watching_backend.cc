#include "calibrate/watching_backend.h"

#include <algorithm>
#include <array>
#include <utility>

namespace hlwq {
namespace {

// Room for `floats` on the back end; what was there may go.
Result<float*> room_for(Backend& backend, Buffer& buffer, int64_t floats) {
  const auto bytes = static_cast<size_t>(floats) * sizeof(float);
  if (buffer.bytes() < bytes) {
    buffer = Buffer();
    HLWQ_TRY_ASSIGN(buffer, backend.allocate(bytes, "inputs to look at"));
  }
  return buffer.as<float>().data();
}

}  // namespace

std::shared_ptr<const Moments> WatchingBackend::moments(const std::byte* matrix) const {
  const auto found = moments_.find(matrix);
  return found == moments_.end() ? nullptr : found->second;
}

void WatchingBackend::take_in(std::span<const Matrix> matrices, F32View host_rows) {
  std::shared_ptr<Moments> shared;
  for (const Matrix& matrix : matrices) {
    const auto found = moments_.find(matrix.data);
    if (found == moments_.end()) continue;
    if (found->second == nullptr) {
      if (shared == nullptr) shared = std::make_shared<Moments>(matrix.cols);
      found->second = shared;
    } else {
      shared = found->second;
    }
  }
  if (shared != nullptr) shared->add(host_rows, pool_);
}

void WatchingBackend::take_in(const Mlp& mlp, const float* up_bias, F32View host_rows) {
  const std::array up = {mlp.up}, down = {mlp.down};
  take_in(up, host_rows);
  if (!watched(mlp.down)) return;
  const int64_t rows = host_rows.rows, width = mlp.up.rows;
  const auto in_room = room_for(inner_, device_in_, rows * host_rows.cols);
  const auto hidden_room = room_for(inner_, device_hidden_, rows * width);
  if (!in_room || !hidden_room) {
    // Ops cannot fail: whoever runs the text asks afterwards.
    failure_ = in_room ? hidden_room.error() : in_room.error();
    return;
  }
  float* const in = *in_room;
  for (int64_t r = 0; r < rows; ++r)
    inner_.upload(in + r * host_rows.cols, host_rows.row(r),
                  static_cast<size_t>(host_rows.cols) * sizeof(float));
  const MutF32View y = dense(*hidden_room, rows, width);
  const std::array projections = {Projection{.weight = mlp.up, .bias = up_bias, .y = y}};
  inner_.project(
      {.x = {.x = dense(in, rows, host_rows.cols), .q = {}}, .projections = projections});
  const F32View readable = hidden_rows_.read(inner_, y);
  squared_.resize(static_cast<size_t>(rows * width));
  pool_.run(rows, [&](int64_t r) {
    for (int64_t i = 0; i < width; ++i) {
      const float h = std::max(readable.row(r)[i], 0.0f);
      squared_[static_cast<size_t>(r * width + i)] = h * h;
    }
  });
  take_in(down, dense(static_cast<const float*>(squared_.data()), rows, width));
}

void WatchingBackend::project(const ProjectArgs& args) {
  std::vector<Matrix> matrices;
  for (const Projection& projection : args.projections) {
    if (watched(projection.weight)) matrices.push_back(projection.weight);
  }
  if (matrices.empty()) return inner_.project(args);
  ProjectArgs rest = args;
  if (args.norm) {
    inner_.rms_norm(
        {.x = args.norm->x, .weight = args.norm->weight, .eps = args.norm->eps, .out = args.x});
    rest.norm.reset();
  }
  take_in(matrices, rows_.read(inner_, args.x.x));
  inner_.project(rest);
}

void WatchingBackend::mlp(const MlpArgs& args) {
  if (watched(args.mlp.up) || watched(args.mlp.down))
    take_in(args.mlp, args.up_bias, rows_.read(inner_, args.x.x));
  inner_.mlp(args);
}

void WatchingBackend::experts(const ExpertsArgs& args) {
  const bool any = std::any_of(args.experts.begin(), args.experts.end(), [&](const Mlp& expert) {
    return watched(expert.up) || watched(expert.down);
  });
  if (any) {
    const F32View x = rows_.read(inner_, args.x.x);
    const auto choices = static_cast<size_t>(x.rows * args.experts_used);
    std::vector<int32_t> ids(choices);
    inner_.download(ids.data(), args.ids, choices * sizeof(int32_t));
    std::vector<std::vector<int64_t>> tokens(args.experts.size());
    for (size_t i = 0; i < choices; ++i)
      tokens[static_cast<size_t>(ids[i])].push_back(static_cast<int64_t>(i) / args.experts_used);
    std::vector<float> gathered;
    for (size_t e = 0; e < tokens.size(); ++e) {
      if (tokens[e].empty()) continue;
      gathered.clear();
      for (const int64_t t : tokens[e])
        gathered.insert(gathered.end(), x.row(t), x.row(t) + x.cols);
      take_in(args.experts[e], nullptr,
              dense(static_cast<const float*>(gathered.data()),
                    static_cast<int64_t>(tokens[e].size()), x.cols));
    }
  }
  if (args.shared != nullptr && (watched(args.shared->up) || watched(args.shared->down)))
    take_in(*args.shared, nullptr, rows_.read(inner_, args.x.x));
  inner_.experts(args);
}

}  // namespace hlwq
