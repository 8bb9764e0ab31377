// Matrix products and what they read: norms, activations, quantization, embedding rows.

#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/cpu_backend.h"

namespace hlwq::cpu {
namespace {

// Rough costs, only to decide how finely to cut: ns a row and column for the weights, and a token.
struct Rate {
  double weight, token;
};
constexpr Rate kPlainRate{0.08, 0.02}, kIntegerRate{0.03, 0.006}, kExactRate{0.3, 0.06};

// Tasks a thread. One token: threads wait for memory and should end together. Many: a task packs
// them once for all of its rows.
constexpr double kTasksOfOneToken = 16, kTasksOfMany = 8;

constexpr double kNormNs = 0.3, kSiluNs = 1.0;  // a value

Weights make_weights(const Matrix& m) {
  Weights w;
  w.data = reinterpret_cast<const uint8_t*>(m.data);
  w.rows = m.rows;
  w.cols = m.cols;
  if (!m.coded()) {
    HLWQ_CHECK(is_weight_float(m.dtype));
    w.kind = m.dtype == DType::kF32   ? WeightKind::kF32
             : m.dtype == DType::kF16 ? WeightKind::kF16
                                      : WeightKind::kBF16;
    return w;
  }
  const CodedShape shape = m.coded_shape();
  const bool tiled = m.layout == CodeLayout::kTiled5;
  HLWQ_CHECK(!tiled || (m.grid->symmetric && m.grid->bits == 5 && !m.grid->wide));
  w.kind = tiled ? WeightKind::kTiled5 : WeightKind::kPlanes;
  w.signs = tiled ? w.data + shape.signs_offset() : nullptr;
  w.norms = reinterpret_cast<const uint16_t*>(w.data + shape.norms_offset());
  w.levels = m.grid->v.data();
  w.factor = m.grid->step / 256.0f;
  w.blocks = m.blocks();
  w.bits = m.grid->bits;
  w.wide = m.grid->wide;
  return w;
}

bool coded(const Product& p) {
  return p.weights.kind == WeightKind::kTiled5 || p.weights.kind == WeightKind::kPlanes;
}

// Rows of a task are a multiple of this. AMX takes twice kTaskRows at a time; plain rows are
// independent of each other.
int64_t row_step(const Product& p) {
  if (!coded(p)) return kPlainTaskRows;
  return p.tokens == 1 ? kTaskRows : 2 * kTaskRows;
}

int64_t parts(int64_t count, int64_t most) { return (count + most - 1) / most; }

// Most tokens of a task: of coded matrices what AMX packs at once of a row of 21 blocks. A plain
// matrix with too few rows for the threads (a router) is cut by tokens instead.
int64_t task_tokens(const Product& p, int threads) {
  constexpr int64_t kEnoughTasks = 4;  // a thread
  const bool few_rows = p.weights.rows < kTaskRows * threads * kEnoughTasks;
  return coded(p) ? 192 : few_rows ? 32 : 128;
}

// Tokens [first, first + count) of a product.
Product some_tokens(Product p, int64_t first, int64_t count) {
  p.tokens = count;
  p.y += first * p.y_stride;
  if (p.input_rows != nullptr) {
    p.input_rows += first;
  } else if (p.x != nullptr) {
    p.x += first * p.x_stride;
  } else {
    p.xq += first * p.weights.blocks * kBlock;
    p.sx += first * p.weights.blocks;
    p.sum += first * p.weights.blocks;
  }
  return p;
}

}  // namespace

void CpuBackend::quantize_blocks(const Activation& a, int64_t row, int64_t first, int64_t count) {
  const QuantizedView& q = a.q;
  const int64_t at = row * q.blocks + first, column = first * kBlock;
  if (!kernels_.quantize_row(a.x.row(row) + column, a.x.cols - column, count, q.xq + at * kBlock,
                             q.sx + at, q.sum + at)) {
    non_finite_.store(true, std::memory_order_relaxed);
  }
}

void CpuBackend::rms_norm(const RmsNormArgs& args) {
  const Activation& out = args.out;
  const bool quantized = out.q.xq != nullptr;
  HLWQ_CHECK(out.x.rows == args.x.rows && out.x.cols == args.x.cols);
  HLWQ_CHECK(!quantized || (out.q.rows == out.x.rows && out.q.blocks == blocks_of(out.x.cols)));
  const double row_ns =
      static_cast<double>(out.x.cols) * (quantized ? kNormNs + kQuantizeNs : kNormNs);
  parallel_rows(out.x.rows, row_ns, [&](int64_t t) {
    kernels_.norm_row(args.x.row(t), args.weight, args.x.cols, args.eps, out.x.row(t));
    if (quantized) quantize_blocks(out, t, 0, out.q.blocks);
  });
}

void CpuBackend::quantize(const QuantizeArgs& args) {
  const Activation& a = args.a;
  if (a.q.xq == nullptr) return;
  HLWQ_CHECK(a.q.rows == a.x.rows && a.q.blocks == blocks_of(a.x.cols));
  const int64_t pieces = pieces_of(a.q.blocks);
  parallel_rows(a.x.rows * pieces, static_cast<double>(kPieceBlocks * kBlock) * kQuantizeNs,
                [&](int64_t unit) {
                  const int64_t first = unit % pieces * kPieceBlocks;
                  quantize_blocks(a, unit / pieces, first,
                                  std::min(kPieceBlocks, a.q.blocks - first));
                });
}

void CpuBackend::rotate(const F32View& x, float* rotated) {
  const int64_t blocks = blocks_of(x.cols);
  parallel_rows(x.rows, static_cast<double>(x.cols) * kQuantizeNs, [&](int64_t t) {
    if (!kernels_.rotate_row(x.row(t), x.cols, blocks, rotated + t * blocks * kBlock)) {
      non_finite_.store(true, std::memory_order_relaxed);
    }
  });
}

Product CpuBackend::make_product(const Matrix& matrix, const Activation& x,
                                 const float* rotated) const {
  HLWQ_CHECK(matrix.data != nullptr && matrix.cols == x.x.cols);
  Product p;
  p.weights = make_weights(matrix);
  p.tokens = x.x.rows;
  if (!matrix.coded()) {
    p.x = x.x.data;
    p.x_stride = x.x.stride;
  } else if (compute_ == Compute::kExact) {
    p.x = rotated;
    p.x_stride = p.weights.blocks * kBlock;
  } else {
    HLWQ_CHECK(x.q.xq != nullptr && x.q.rows == x.x.rows && x.q.blocks == p.weights.blocks);
    p.xq = x.q.xq;
    p.sx = x.q.sx;
    p.sum = x.q.sum;
  }
  return p;
}

void CpuBackend::add_job(const Product& product) {
  HLWQ_CHECK(job_count_ < jobs_.size());  // reserve() was told of fewer experts
  Job& job = jobs_[job_count_++];
  job.product = product;
  job.run = !coded(product)               ? kernels_.plain_product
            : compute_ == Compute::kExact ? kernels_.exact_product
                                          : kernels_.integer_product;
}

void CpuBackend::run_jobs() {
  const std::span<Job> jobs = jobs_.first(job_count_);
  const auto row_ns = [&](const Job& job) {
    const Rate rate = !coded(job.product)           ? kPlainRate
                      : compute_ == Compute::kExact ? kExactRate
                                                    : kIntegerRate;
    return static_cast<double>(job.product.weights.cols) *
           (rate.weight + rate.token * static_cast<double>(job.product.tokens));
  };
  double total_ns = 0;
  bool one_token = true;
  for (const Job& job : jobs) {
    total_ns += row_ns(job) * static_cast<double>(job.product.weights.rows);
    one_token = one_token && job.product.tokens == 1;
  }
  const double thread_tasks = one_token ? kTasksOfOneToken : kTasksOfMany;
  const double task_ns = std::max(kTaskNs, total_ns / (thread_tasks * pool_.threads()));
  int64_t tasks = 0;
  for (Job& job : jobs) {
    job.task_tokens = task_tokens(job.product, pool_.threads());
    job.first_task = tasks;
    const int64_t token_parts = parts(job.product.tokens, job.task_tokens);
    const auto rows =
        static_cast<int64_t>(task_ns * static_cast<double>(token_parts) / row_ns(job));
    // Equal parts, so that no thread ends with a short one.
    const int64_t step = row_step(job.product), all_rows = job.product.weights.rows;
    const int64_t even = parts(all_rows, parts(all_rows, std::max(step, rows)));
    job.task_rows = parts(even, step) * step;
    tasks += parts(all_rows, job.task_rows) * token_parts;
  }
  parallel(tasks, total_ns, [&](int64_t task) {
    const auto after = std::upper_bound(jobs.begin(), jobs.end(), task,
                                        [](int64_t t, const Job& j) { return t < j.first_task; });
    const Job& job = *(after - 1);
    // Neighbouring tasks, which one thread does as a rule, have the rows of weights in common.
    const int64_t token_parts = parts(job.product.tokens, job.task_tokens);
    const int64_t begin = (task - job.first_task) / token_parts * job.task_rows;
    const int64_t first = (task - job.first_task) % token_parts * job.task_tokens;
    job.run(some_tokens(job.product, first, std::min(job.task_tokens, job.product.tokens - first)),
            begin, std::min(begin + job.task_rows, job.product.weights.rows));
  });
}

void CpuBackend::project(const ProjectArgs& args) {
  if (args.norm)
    rms_norm(
        {.x = args.norm->x, .weight = args.norm->weight, .eps = args.norm->eps, .out = args.x});
  const Activation& x = args.x;
  if (x.x.rows == 0) return;
  const bool rotates = compute_ == Compute::kExact &&
                       std::any_of(args.projections.begin(), args.projections.end(),
                                   [](const Projection& p) { return p.weight.coded(); });
  if (rotates) {
    HLWQ_CHECK(x.x.rows <= scratch_.tokens && x.x.cols <= scratch_.width);
    rotate(x.x, scratch_.rotated);
  }
  start_jobs();
  for (const Projection& projection : args.projections) {
    HLWQ_CHECK(projection.y.rows == x.x.rows && projection.y.cols == projection.weight.rows);
    Product product = make_product(projection.weight, x, scratch_.rotated);
    product.y = projection.y.data;
    product.y_stride = projection.y.stride;
    product.bias = projection.bias;
    product.accumulate = projection.accumulate;
    add_job(product);
  }
  run_jobs();
}

void CpuBackend::embed(const EmbedArgs& args) {
  HLWQ_CHECK(args.y.rows == static_cast<int64_t>(args.ids.size()) &&
             args.y.cols == args.table.cols && args.table.data != nullptr);
  const Weights weights = make_weights(args.table);
  parallel_rows(args.y.rows, static_cast<double>(args.y.cols), [&](int64_t t) {
    const int64_t id = args.ids[static_cast<size_t>(t)];
    HLWQ_CHECK(id >= 0 && id < weights.rows);
    kernels_.embed_row(weights, id, args.y.row(t));
  });
}

void CpuBackend::silu_gate(const SiluGateArgs& args) {
  const Activation& out = args.out;
  const bool quantized = out.q.xq != nullptr;
  HLWQ_CHECK(args.gate.rows == out.x.rows && args.gate.cols == out.x.cols);
  HLWQ_CHECK(args.up.rows == out.x.rows && args.up.cols == out.x.cols);
  HLWQ_CHECK(!quantized || (out.q.rows == out.x.rows && out.q.blocks == blocks_of(out.x.cols)));
  const int64_t blocks = blocks_of(out.x.cols), pieces = pieces_of(blocks);
  const double piece_ns =
      static_cast<double>(kPieceBlocks * kBlock) * (quantized ? kSiluNs + kQuantizeNs : kSiluNs);
  parallel_rows(out.x.rows * pieces, piece_ns, [&](int64_t unit) {
    const int64_t row = unit / pieces, first = unit % pieces * kPieceBlocks;
    const int64_t count = std::min(kPieceBlocks, blocks - first), column = first * kBlock;
    kernels_.silu_gate(args.gate.row(row) + column, args.up.row(row) + column,
                       std::min(count * kBlock, out.x.cols - column), out.x.row(row) + column);
    if (quantized) quantize_blocks(out, row, first, count);
  });
}

void CpuBackend::add(const AddArgs& args) {
  HLWQ_CHECK(args.x.rows == args.y.rows && args.x.cols == args.y.cols);
  parallel_rows(args.y.rows, static_cast<double>(args.y.cols) * 0.1,
                [&](int64_t t) { kernels_.add(args.x.row(t), args.y.cols, args.y.row(t)); });
}

}  // namespace hlwq::cpu
