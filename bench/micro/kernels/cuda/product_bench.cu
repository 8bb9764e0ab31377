// Times the coded products of a decode step and of prefill at the 30B's shapes: each kernel alone
// over rotating weights, and all of a token's products as one recorded chain. Prints microseconds,
// GB/s and share of the read bandwidth measured first. Weights are random bytes.
//   product_bench [layers]

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "base/random.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/read_bandwidth.h"
#include "kernels/cuda/rotate_quantize.h"
#include "kernels/cuda/sort_choices.h"
#include "kernels/cuda/tiled5_product.h"
#include "quant/block.h"

namespace {

using namespace hlwq;        // NOLINT: a program
using namespace hlwq::cuda;  // NOLINT

constexpr int kHidden = 2688, kInProj = 10304, kInner = 4096, kExpert = 1856, kShared = 3712;
constexpr int kExperts = 128, kUsed = 6, kQueries = 4096, kKeys = 256, kVocabulary = 131072;

__global__ void fill(uint64_t* words, int64_t count, uint64_t seed, uint64_t keep, uint64_t set) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * blockDim.x)
    words[i] = (random_bits(seed, static_cast<uint64_t>(i)) & keep) | set;
}

struct Coded {
  std::byte* data = nullptr;
  int64_t rows = 0, cols = 0;
  [[nodiscard]] int64_t blocks() const { return blocks_of(cols); }
  [[nodiscard]] int64_t bytes() const { return (rows + 7) / 8 * 8 * blocks() * 82; }
};

void* device_memory(size_t bytes) {
  void* p = nullptr;
  HLWQ_CUDA(cudaMalloc(&p, bytes));
  return p;
}

Coded make_coded(int64_t rows, int64_t cols) {
  static uint64_t seed = 1;
  Coded m{nullptr, rows, cols};
  const int64_t bytes = (m.bytes() + 255) / 256 * 256;
  m.data = static_cast<std::byte*>(device_memory(static_cast<size_t>(bytes)));
  const int64_t codes = (rows + 7) / 8 * 8 * m.blocks() * 80;
  fill<<<1024, 256>>>(reinterpret_cast<uint64_t*>(m.data), codes / 8, seed++, ~0ull, 0);
  fill<<<1024, 256>>>(reinterpret_cast<uint64_t*>(m.data + codes), (bytes - codes) / 8, seed++,
                      0x00ff00ff00ff00ffull, 0x2400240024002400ull);
  return m;
}

struct Rows {
  QuantizedRows q;
  static Rows make(int64_t rows, int64_t cols) {
    const int64_t blocks = blocks_of(cols);
    auto* xq = static_cast<int8_t*>(device_memory(static_cast<size_t>(rows * blocks * 128 + 256)));
    auto* sx = static_cast<float*>(device_memory(static_cast<size_t>(rows * blocks * 4 + 256)));
    auto* sum = static_cast<int32_t*>(device_memory(static_cast<size_t>(rows * blocks * 4 + 256)));
    auto* x = static_cast<float*>(device_memory(static_cast<size_t>(rows * cols * 4 + 256)));
    fill<<<1024, 256>>>(reinterpret_cast<uint64_t*>(x), rows * cols / 2, 99, 0x807fffff807fffffull,
                        0x3f8000003f800000ull);
    static auto* flag = static_cast<uint32_t*>(device_memory(4));
    rotate_quantize(x, cols, rows, cols, xq, sx, sum, flag, nullptr);
    HLWQ_CUDA(cudaDeviceSynchronize());
    HLWQ_CUDA(cudaFree(x));
    return {{xq, sx, sum, blocks}};
  }
};

float* floats(int64_t count) {
  return static_cast<float*>(device_memory(static_cast<size_t>(count) * 4));
}

double roof = 0;

// Median microseconds of one `run` when `batch` of them are recorded one after the other.
double time_us(cudaStream_t stream, int batch, const std::function<void(int)>& run) {
  run(0);
  HLWQ_CUDA(cudaStreamSynchronize(stream));
  HLWQ_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (int i = 0; i < batch; ++i) run(i);
  cudaGraph_t graph;
  HLWQ_CUDA(cudaStreamEndCapture(stream, &graph));
  cudaGraphExec_t exec;
  HLWQ_CUDA(cudaGraphInstantiate(&exec, graph, 0));
  cudaEvent_t begin, end;
  HLWQ_CUDA(cudaEventCreate(&begin));
  HLWQ_CUDA(cudaEventCreate(&end));
  std::vector<double> times;
  for (int i = 0; i < 15; ++i) {
    HLWQ_CUDA(cudaEventRecord(begin, stream));
    HLWQ_CUDA(cudaGraphLaunch(exec, stream));
    HLWQ_CUDA(cudaEventRecord(end, stream));
    HLWQ_CUDA(cudaEventSynchronize(end));
    float ms = 0;
    HLWQ_CUDA(cudaEventElapsedTime(&ms, begin, end));
    if (i >= 5) times.push_back(ms * 1e3 / batch);
  }
  HLWQ_CUDA(cudaGraphExecDestroy(exec));
  HLWQ_CUDA(cudaGraphDestroy(graph));
  std::nth_element(times.begin(), times.begin() + 5, times.end());
  return times[5];
}

double read_bandwidth(cudaStream_t stream) {
  constexpr size_t kBytes = size_t{4} << 30;
  constexpr int kBlocks = 132 * 16;
  auto* data = static_cast<std::byte*>(device_memory(kBytes));
  fill<<<4096, 256>>>(reinterpret_cast<uint64_t*>(data), kBytes / 8, 3, ~0ull, 0);
  auto* sums =
      static_cast<uint32_t*>(device_memory(static_cast<size_t>(read_sum_words(kBlocks)) * 4));
  const double us = time_us(stream, 2, [&](int) { read_all(data, kBytes, sums, kBlocks, stream); });
  HLWQ_CUDA(cudaFree(data));
  return static_cast<double>(kBytes) / us * 1e6;
}

void report(const char* name, double us, double bytes, double operations = 0) {
  std::printf("%-44s %9.2f us %8.1f GB/s %5.1f %%", name, us, bytes / us * 1e-3,
              bytes / us * 1e6 / roof * 100);
  if (operations > 0) std::printf(" %8.1f T/s", operations / us * 1e-6);
  std::printf("\n");
}

struct Layer {
  Coded in_proj, out_proj, q, k, v, o, shared_up, shared_down;
  std::vector<Coded> up, down;
  ExpertAddress* table = nullptr;
  int32_t* ids = nullptr;
};

}  // namespace

int main(int argc, char** argv) {
  const int layers = argc > 1 ? std::atoi(argv[1]) : 23;
  cudaStream_t stream;
  cudaDeviceProp properties;
  HLWQ_CUDA(cudaGetDeviceProperties(&properties, 0));
  const DeviceLimits device = {properties.multiProcessorCount * (argc > 2 ? std::atoi(argv[2]) : 1),
                               properties.sharedMemPerBlockOptin};
  HLWQ_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  roof = read_bandwidth(stream);
  std::printf("read bandwidth %.2f TB/s\n", roof * 1e-12);
  const Tiled5Table codes = {{0x1a120a03u, 0x3a322a22u, 0x5f554c43u, 0x7f776f67u}, 0.001f};

  std::vector<Layer> model(static_cast<size_t>(layers));
  for (Layer& layer : model) {
    layer.in_proj = make_coded(kInProj, kHidden);
    layer.out_proj = make_coded(kHidden, kInner);
    layer.shared_up = make_coded(kShared, kHidden);
    layer.shared_down = make_coded(kHidden, kShared);
    std::vector<ExpertAddress> table;
    for (int e = 0; e < kExperts; ++e) {
      layer.up.push_back(make_coded(kExpert, kHidden));
      layer.down.push_back(make_coded(kHidden, kExpert));
      table.push_back({layer.up.back().data, layer.down.back().data});
    }
    layer.table = static_cast<ExpertAddress*>(device_memory(table.size() * sizeof(ExpertAddress)));
    HLWQ_CUDA(cudaMemcpy(layer.table, table.data(), table.size() * sizeof(ExpertAddress),
                         cudaMemcpyHostToDevice));
    const int32_t ids[kUsed] = {3, 20, 41, 77, 90, 126};
    layer.ids = static_cast<int32_t*>(device_memory(sizeof ids));
    HLWQ_CUDA(cudaMemcpy(layer.ids, ids, sizeof ids, cudaMemcpyHostToDevice));
  }
  const Coded head = make_coded(kVocabulary, kHidden);
  auto* weights = floats(64 * kUsed);
  fill<<<1, 32>>>(reinterpret_cast<uint64_t*>(weights), 32 * kUsed, 5, 0x007fffff007fffffull,
                  0x3e0000003e000000ull);
  auto* flag = static_cast<uint32_t*>(device_memory(4));

  const int64_t most = 4096;
  const Rows x = Rows::make(most, kHidden), mixed = Rows::make(most, kInner);
  float* y = floats(most * kInProj);
  float* hidden = floats(most * kUsed * kExpert);
  const Rows hidden_q = Rows::make(most * kUsed, kExpert);
  const Rows shared_q = Rows::make(most, kShared);
  float* residual = floats(kHidden);
  float* logits = floats(64 * kVocabulary);

  const auto dense = [&](const Coded& w, const QuantizedRows& in, int64_t tokens, float* out,
                         bool few, int tile) {
    ProductTargets targets;
    targets.target[targets.count++] = {w.data, w.rows, out, w.rows, nullptr, false};
    if (few && tokens == 1) {
      tiled5_one(in, nullptr, targets, codes, {}, device, stream);
    } else if (few) {
      tiled5_few(in, tokens, targets, codes, stream);
    } else {
      tiled5_many(in, tokens, targets, codes, {}, tile, stream);
    }
  };
  const auto up_all = [&](const Layer& layer) {
    ProductTargets shared;
    shared.target[shared.count++] = {
        layer.shared_up.data, kShared, hidden + kUsed * kExpert, kShared, nullptr, false};
    tiled5_one(x.q, nullptr, shared, codes,
               {.table = layer.table,
                .rows = kExpert,
                .codes = codes,
                .ids = layer.ids,
                .most_tiles = kUsed,
                .y = hidden,
                .y_stride = kExpert},
               device, stream);
  };
  const auto rotate_all = [&] {
    rotate_quantize(
        {hidden, kExpert, kUsed, kExpert, const_cast<int8_t*>(hidden_q.q.xq),
         const_cast<float*>(hidden_q.q.sx), const_cast<int32_t*>(hidden_q.q.sum)},
        {hidden + kUsed * kExpert, kShared, 1, kShared, const_cast<int8_t*>(shared_q.q.xq),
         const_cast<float*>(shared_q.q.sx), const_cast<int32_t*>(shared_q.q.sum)},
        BeforeRotation::kReluSquared, flag, stream);
  };
  const auto down_all = [&](const Layer& layer) {
    tiled5_sum_experts({.hidden = hidden_q.q,
                        .table = layer.table,
                        .ids = layer.ids,
                        .weights = weights,
                        .pairs = kUsed,
                        .codes = codes,
                        .shared = layer.shared_down.data,
                        .shared_hidden = shared_q.q,
                        .shared_codes = codes,
                        .rows = kHidden,
                        .y = y,
                        .residual = residual},
                       device, stream);
  };
  const double up_bytes = kUsed * static_cast<double>(model[0].up[0].bytes()) +
                          static_cast<double>(model[0].shared_up.bytes());
  const double down_bytes = kUsed * static_cast<double>(model[0].down[0].bytes()) +
                            static_cast<double>(model[0].shared_down.bytes());
  const auto at = [&](int i) -> const Layer& { return model[static_cast<size_t>(i % layers)]; };

  // Every way through a matrix gives the same bits.
  {
    constexpr int64_t kTokens = 64;
    std::vector<float> first(kTokens * kInProj), other(first.size());
    for (int way = 0; way < 6; ++way) {
      HLWQ_CUDA(cudaMemset(y, 0xff, first.size() * 4));
      if (way == 0) dense(model[0].in_proj, x.q, kTokens, y, true, 0);
      if (way >= 1 && way <= 3) dense(model[0].in_proj, x.q, kTokens, y, false, kManyRows[way - 1]);
      for (int64_t t = 0; way == 4 && t < kTokens; ++t)
        dense(model[0].in_proj,
              {x.q.xq + t * x.q.blocks * 128, x.q.sx + t * x.q.blocks, x.q.sum + t * x.q.blocks,
               x.q.blocks},
              1, y + t * kInProj, true, 0);
      if (way == 5) {
        for (int64_t t = 0; t < kTokens; t += 3)
          dense(model[0].in_proj,
                {x.q.xq + t * x.q.blocks * 128, x.q.sx + t * x.q.blocks, x.q.sum + t * x.q.blocks,
                 x.q.blocks},
                std::min<int64_t>(3, kTokens - t), y + t * kInProj, true, 0);
      }
      HLWQ_CUDA(cudaDeviceSynchronize());
      HLWQ_CUDA(cudaMemcpy(way == 0 ? first.data() : other.data(), y, first.size() * 4,
                           cudaMemcpyDeviceToHost));
      if (way == 0) continue;
      size_t different = 0;
      for (size_t i = 0; i < first.size(); ++i)
        if (std::memcmp(&first[i], &other[i], 4) != 0) ++different;
      std::printf("way %d: %zu of %zu outputs differ (first %g, other %g)\n", way, different,
                  first.size(), first[12345], other[12345]);
    }
  }
  for (const int64_t tokens : {1, 2, 8, 16, 32, 64}) {
    char name[64];
    for (const bool few : {true, false}) {
      if (!few && tokens < 8) continue;
      const int tile = tokens <= 16 ? 16 : tokens <= 32 ? 32 : 64;
      std::snprintf(name, sizeof name, "in_proj, %d tokens, %s", static_cast<int>(tokens),
                    few ? "few" : "many");
      report(
          name,
          time_us(stream, layers, [&](int i) { dense(at(i).in_proj, x.q, tokens, y, few, tile); }),
          static_cast<double>(model[0].in_proj.bytes()));
      std::snprintf(name, sizeof name, "out_proj, %d tokens, %s", static_cast<int>(tokens),
                    few ? "few" : "many");
      report(name,
             time_us(stream, layers,
                     [&](int i) { dense(at(i).out_proj, mixed.q, tokens, y, few, tile); }),
             static_cast<double>(model[0].out_proj.bytes()));
    }
  }
  report("head, 1 token", time_us(stream, 3, [&](int) { dense(head, x.q, 1, logits, true, 0); }),
         static_cast<double>(head.bytes()));
  report("up of 6 experts + shared", time_us(stream, layers, [&](int i) { up_all(at(i)); }),
         up_bytes);
  report("rotate hidden", time_us(stream, layers, [&](int) { rotate_all(); }), 74e3);
  report("down of 6 experts + shared, sum",
         time_us(stream, layers, [&](int i) { down_all(at(i)); }), down_bytes);
  const double token_bytes =
      layers * (up_bytes + down_bytes + static_cast<double>(model[0].in_proj.bytes()) +
                static_cast<double>(model[0].out_proj.bytes())) +
      static_cast<double>(head.bytes());
  report("a token's products, one chain",
         time_us(stream, 1,
                 [&](int) {
                   for (const Layer& layer : model) {
                     rotate_all();  // in place of the norms and the scan between products
                     dense(layer.in_proj, x.q, 1, y, true, 0);
                     rotate_all();
                     dense(layer.out_proj, mixed.q, 1, y, true, 0);
                     rotate_all();
                     up_all(layer);
                     rotate_all();
                     down_all(layer);
                   }
                   dense(head, x.q, 1, logits, true, 0);
                 }),
         token_bytes);

  for (const int64_t tokens : {512, 2048, 4096}) {
    for (const int tile : kManyRows) {
      char name[64];
      std::snprintf(name, sizeof name, "in_proj, %d tokens, tile %d", static_cast<int>(tokens),
                    tile);
      report(name,
             time_us(stream, 4, [&](int i) { dense(at(i).in_proj, x.q, tokens, y, false, tile); }),
             static_cast<double>(model[0].in_proj.bytes()),
             2.0 * kInProj * kHidden * static_cast<double>(tokens));
    }
  }
  // Experts of many tokens: each token six different ones.
  for (const int64_t tokens : {4, 32, 64, 512, 2048, 4096}) {
    std::vector<int32_t> ids;
    for (int64_t t = 0; t < tokens; ++t)
      for (int i = 0; i < kUsed; ++i)
        ids.push_back(static_cast<int32_t>(
            (random_bits(7, static_cast<uint64_t>(t)) + static_cast<uint64_t>(i) * 21) % kExperts));
    auto* device_ids = static_cast<int32_t*>(device_memory(ids.size() * 4));
    HLWQ_CUDA(cudaMemcpy(device_ids, ids.data(), ids.size() * 4, cudaMemcpyHostToDevice));
    const int64_t pairs = tokens * kUsed;
    const SortedChoices sorted = {
        static_cast<int32_t*>(device_memory(4096)),
        static_cast<int32_t*>(device_memory(static_cast<size_t>(pairs) * 4)),
        static_cast<int32_t*>(device_memory(static_cast<size_t>(pairs) * 4)),
        static_cast<ExpertTile*>(
            device_memory(static_cast<size_t>(pairs + kExperts) * sizeof(ExpertTile))),
        static_cast<int32_t*>(device_memory(4))};
    std::vector<int> seen(kExperts);
    for (const int32_t id : ids) seen[static_cast<size_t>(id)] = 1;
    const double touched = static_cast<double>(std::count(seen.begin(), seen.end(), 1));
    for (const int tile : kManyRows) {
      const int64_t per = (pairs + kExperts - 1) / kExperts;
      if (tile > 8 * per || per > 16 * tile) continue;
      char name[64];
      const auto both = [&](int i) {
        Tiled5Experts e{.table = at(i).table,
                        .rows = kExpert,
                        .codes = codes,
                        .tiles = sorted.tiles,
                        .tile_count = sorted.tile_count,
                        .input_row = sorted.pair_token,
                        .most_tiles = pairs / tile + std::min<int64_t>(kExperts, pairs),
                        .y = hidden,
                        .y_stride = kExpert};
        tiled5_many(x.q, 0, {}, codes, e, tile, stream);
      };
      sort_choices(device_ids, pairs, kUsed, kExperts, tile, sorted, stream);
      std::snprintf(name, sizeof name, "experts up, %d tokens, tile %d", static_cast<int>(tokens),
                    tile);
      report(name, time_us(stream, 4, both), touched * static_cast<double>(model[0].up[0].bytes()),
             2.0 * static_cast<double>(pairs) * kExpert * kHidden);
    }
    std::printf("%-44s %9.2f us\n", "  sort", time_us(stream, 4, [&](int) {
                  sort_choices(device_ids, pairs, kUsed, kExperts, 64, sorted, stream);
                }));
  }
  HLWQ_CUDA(cudaDeviceSynchronize());
  return 0;
}
