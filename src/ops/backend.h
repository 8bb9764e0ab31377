#pragma once
// The flat op interface: what a device must do to run the model. `reference` (scalar oracle) and
// `cpu` implement it; a new op means an argument struct here, a reference version, a test that runs
// every back end, then fast versions.
//
// Rules for all ops. Nothing allocates (the reference alone does): scratch comes from the arena
// given at load (reserve). The bits of one token's result do not depend on the other tokens of the
// call, on threads or on how experts are placed. A device may run ops later than they are called,
// in the order of the calls; download, sample, take_non_finite and synchronize wait for them. Coded
// matrices under Compute::kInt8 follow D1 to the bit on every back end; other arithmetic is FP32 in
// an order fixed by shapes and absolute positions. Outputs may alias inputs only where stated.
// Views live on the back end's device.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "ops/expert_address.h"
#include "ops/expert_cache.h"
#include "ops/host_experts.h"
#include "ops/matrix.h"
#include "ops/sampling.h"
#include "ops/shapes.h"
#include "tensor/buffer.h"

namespace hlwq {

enum class Compute : uint8_t {
  kInt8,   // coded matrices by the integer arithmetic of D1
  kExact,  // coded matrices by decoded levels and FP32 activations
};

// x[t] -> normalized rows: y = w * x / sqrt(mean(x^2) + eps). Writes out.x, and out.q when present.
struct RmsNormArgs {
  F32View x;            // [tokens, width]
  const float* weight;  // [width]
  float eps;
  Activation out;  // [tokens, width]; out.x may be x
};

// Fills a.q from a.x (D1). Does nothing when a.q is absent.
struct QuantizeArgs {
  Activation a;
};

// An RMS norm that an op begins with: w * x / sqrt(mean(x^2) + eps) of its input.
struct Norm {
  F32View x;
  const float* weight;  // [cols]
  float eps;
};

// y = x Wᵀ (+ bias) (+ y when accumulate) for matrices that share an input.
struct Projection {
  Matrix weight;
  const float* bias = nullptr;  // [rows] or null
  MutF32View y;                 // [tokens, rows]
  bool accumulate = false;      // y += result, one FP32 addition at the end
};
// With a norm, x = rmsnorm(norm->x) comes first; what x holds afterwards is not specified.
struct ProjectArgs {
  Activation x;                             // [tokens, cols]
  std::span<const Projection> projections;  // all with cols == x.x.cols
  std::optional<Norm> norm = {};
};

// rows of a table: y[t] = table[ids[t]]; ids are checked by the caller.
struct EmbedArgs {
  std::span<const int32_t> ids;
  Matrix table;  // [vocabulary, width], plain or coded
  MutF32View y;  // [tokens, width]
};

// Norm and router (docs/math.md#router): u = rmsnorm(x), as RmsNormArgs; scores = sigmoid(u gateᵀ)
// in FP32, chosen by score + bias within the best groups, weighted by the uncorrected score. ids
// are sorted ascending within a token.
struct RouteArgs {
  Norm norm;                     // of [tokens, width]
  Activation u;                  // out [tokens, width]; u.q when present
  Matrix gate;                   // [experts, width], plain
  const float* correction_bias;  // [experts]
  int64_t groups, groups_used, experts_used;
  bool normalize;
  float scale;
  int32_t* ids;    // out [tokens, experts_used]
  float* weights;  // out [tokens, experts_used]
};

// y[t] = sum over i of weights[t, i] * expert[ids[t, i]](x[t]), ascending ids, fma from +0; then
// y[t] += shared(x[t]) when there is a shared expert; then residual[t] += y[t] when given (its data
// is null otherwise). y holds the sum in any case. All experts have one shape.
struct ExpertsArgs {
  Activation x;                          // [tokens, width]
  std::span<const Mlp> experts;          // their form; where they lie too, when there is no table
  const ExpertAddress* table = nullptr;  // [experts] on the device, of those that were chosen
  // That placed them in this step, with these ids and this table, by the op before this one: its
  // copies may still be on their way. Null: all are where the table says.
  const ExpertCache* cache = nullptr;
  // Where the outputs of experts that the table has no address of come from: the answer to the
  // question of the op before this one. Null: the table has them all.
  const ExpertMail* mail = nullptr;
  const int32_t* ids;    // [tokens, experts_used], ascending within a token
  const float* weights;  // [tokens, experts_used]
  int64_t experts_used;
  MutF32View y;  // [tokens, width]
  const Mlp* shared = nullptr;
  MutF32View residual = {};  // [tokens, width]
};

// Experts [first, last) of a step, and how many tokens chose each expert of the layer.
struct ExpertRange {
  int64_t first = 0, last = 0;
  std::span<const int32_t> choices;  // [experts], on the host
};

// Before a step's experts are multiplied: those that are in no slot get one, as the cache's policy
// says, their records are copied there, and `table` says where each expert that was chosen lies (in
// host memory, when no slot could be had). Needs a cache whose home the device can read. With
// `host`, some of them are handed to it instead, as its mail's shares say: those get no address.
struct PlaceExpertsArgs {
  ExpertCache cache;
  int64_t layer = 0;
  const int32_t* ids = nullptr;  // [choices] of the router, on the device
  int64_t choices = 0;
  ExpertAddress* table = nullptr;  // out [experts], on the device
  HostExperts* host = nullptr;     // outlives the recordings of the step
  QuantizedView x = {};            // with host: what the experts read, [tokens]
};

// Outputs of experts that were computed elsewhere, in pinned host memory: row r of y is that of
// choice choices[r], an index into ids.
struct ExpertRows {
  const int32_t* choices = nullptr;  // [rows]
  const float* y = nullptr;          // [rows, width]
  int64_t rows = 0;
};

// y = down( relu(up x)^2 ) (+ y when accumulate).
struct MlpArgs {
  Activation x;
  Mlp mlp;
  const float* up_bias = nullptr;
  const float* down_bias = nullptr;
  MutF32View y;
  bool accumulate = false;
};

// out = silu(gate) * up elementwise, silu(g) = g / (1 + e^-g): the hidden layer of a gated MLP.
// Writes out.x, which may be gate or up, and out.q when present.
struct SiluGateArgs {
  F32View gate, up;  // [tokens, width]
  Activation out;    // [tokens, width]
};

// y += x elementwise: the sum of the experts joins the residual stream.
struct AddArgs {
  F32View x;     // [tokens, width]
  MutF32View y;  // [tokens, width]
};

// Everything of a Mamba-2 mixer between in_proj and out_proj (docs/math.md#mamba-2): causal
// convolution, SiLU, selective scan, D skip, gate, group RMS norm. States are read, then updated to
// the segment's end; a segment at position 0 starts from zeros whatever the state holds.
struct MambaArgs {
  MambaShape shape;
  F32View projected;         // [tokens, z | x B C | dt]
  const float* conv_weight;  // [conv_channels, kernel]
  const float* conv_bias;    // [conv_channels] or null
  const float* dt_bias;      // [heads]
  const float* a_log;        // [heads]
  const float* d;            // [heads]
  float dt_min, dt_max;      // clamp after softplus (time_step_limit)
  const float* norm_weight;  // [inner]
  float eps;
  float* conv_state;  // this layer's pool [slots][conv_channels][kernel-1], oldest first
  float* ssm_state;   // this layer's pool [slots][heads][head_dim][state]
  std::span<const Segment> segments;
  Activation out;  // [tokens, inner]
};

// Rotary positions (docs/math.md#rotary-positions): elements i and i + head_dim/2 of every head of
// q and k are turned by the angle that the table has for i at the token's position. In place, with
// the same bits on every back end (ops/rotary.h).
struct RotaryArgs {
  AttentionShape shape;  // head_dim is even
  // [positions, head_dim]: the head_dim/2 cosines of a position, then its sines; every position of
  // the segments is in it.
  const float* table = nullptr;
  std::span<const Segment> segments;
  MutF32View q;  // [tokens, heads*head_dim]
  MutF32View k;  // [tokens, kv_heads*head_dim]
};

// KV pages of one layer, of kPageTokens tokens each; layouts in ops/kv_pages.h. Keys and values may
// be codes of 8, 4, 3 or 2 bits: what a query reads of its newest kExactTokens to kExactTokens + 63
// tokens is then exact, of those before decoded. data and ring are multiples of 16 bytes then, as
// is page_bytes.
struct KvPages {
  std::byte* data = nullptr;  // pool of pages
  DType dtype = DType::kF16;  // F16 or F32; F16 with codes
  int64_t page_bytes = 0;
  const int32_t* tables = nullptr;  // [slots, table_stride]: page of tokens [64 i, 64 i + 64)
  int64_t table_stride = 0;
  int key_bits = 16, value_bits = 16;
  std::byte* ring = nullptr;  // with codes: exact pages [slots][ring_pages]
  int64_t ring_pages = 0;     // enough for what a step reads and writes: ring_pages_for

  [[nodiscard]] bool coded() const { return key_bits < 16 || value_bits < 16; }
};

// Causal grouped-query attention; what q and k know of positions they bring along. Stores k and v
// of the step's tokens in the pages, then attends over [0, position]; FP32 softmax; splits at fixed
// absolute positions. With codes head_dim is a power of two from 32 to 256.
struct AttentionArgs {
  AttentionShape shape;
  F32View q;     // [tokens, heads*head_dim]
  F32View k, v;  // [tokens, kv_heads*head_dim]
  KvPages pages;
  std::span<const Segment> segments;
  Activation out;  // [tokens, heads*head_dim]
};

// The next token of each row of logits (ops/sampling.h). The same settings, logits, recent ids and
// position give the same id on every back end.
struct SampleArgs {
  F32View logits;                   // [rows, vocabulary]
  std::span<const SampleRow> rows;  // host memory
  std::span<int32_t> ids;           // out, host memory, filled on return; -1: no usable logit
};

// The tokens of a step: what EmbedArgs::ids and the segments of the mixers say once more.
struct StepTokens {
  std::span<const int32_t> ids;
  std::span<const Segment> segments;
};

// Bytes of a device's memory.
struct DeviceMemory {
  size_t total = 0, free = 0;      // of the whole device, as the system says now
  size_t allocated = 0, peak = 0;  // by this back end
};

// Scratch a back end needs at most, from the model's largest shapes (see Backend::reserve).
struct ScratchNeeds {
  int64_t tokens = 0;        // most tokens of a step
  int64_t width = 0;         // widest activation that is quantized
  int64_t sum_width = 0;     // widest sum of experts; 0: width
  int64_t mlp_width = 0;     // widest hidden layer of an MLP or expert
  int64_t expert_width = 0;  // widest hidden layer of a routed expert; 0: mlp_width
  int64_t experts = 0, experts_used = 0;
  int64_t context = 0;  // most tokens of a sequence
  AttentionShape attention{0, 0, 0};
  MambaShape mamba{0, 0, 0, 0, 0};
};

// What a device works off in order: its ops, and beside them copies from host memory.
enum class Queue : uint8_t { kOps, kCopies };

class Backend {
 public:
  static constexpr int kFences = 8;

  virtual ~Backend() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;    // "reference", "cpu"
  [[nodiscard]] virtual std::string description() const = 0;  // one line: instruction sets, threads
  [[nodiscard]] virtual Compute compute() const = 0;
  [[nodiscard]] virtual int threads() const = 0;
  // Where its memory lies: with kHost the caller may read and write it.
  [[nodiscard]] virtual Device device() const = 0;
  [[nodiscard]] virtual DeviceMemory memory() const = 0;
  // Bytes a second at which it reads its memory, measured now: the roof of a decode step. Takes up
  // to 2 GiB for that time. Errors: kOutOfMemory.
  [[nodiscard]] virtual Result<double> read_bandwidth() = 0;

  // Device memory, zeroed. Errors: kOutOfMemory, naming `what`.
  [[nodiscard]] virtual Result<Buffer> allocate(size_t bytes, std::string_view what) = 0;
  // Sizes the scratch arena; call once before the ops. Errors: kOutOfMemory.
  [[nodiscard]] virtual Status reserve(const ScratchNeeds& needs) = 0;
  // Whether one call of the experts op can multiply by these. Errors: kUnsupported (experts of one
  // layer that differ in layout, table or type, or lie at odd addresses, where that matters).
  [[nodiscard]] virtual Status check_experts(std::span<const Mlp> experts) const = 0;

  // Host memory that ops read in place, and copies read at full speed, from now on. The result owns
  // no more than that right: destroy it before the memory. Errors: kOutOfMemory, kUnsupported, when
  // the system refuses.
  [[nodiscard]] virtual Result<Buffer> pin(std::byte* host, size_t bytes) = 0;
  // Copies from host memory beside the ops. Memory that is not pinned is read before it returns.
  virtual void copy_beside(void* to, const void* from, size_t bytes) = 0;
  // Order between the queues. A fence (0 .. kFences - 1) is passed when the queue has done what it
  // was given before record(); what it is given after wait() begins when the fence was passed.
  virtual void record(Queue queue, int fence) = 0;
  virtual void wait(Queue queue, int fence) = 0;
  // Until the fence was passed, on the host.
  virtual void wait_on_host(int fence) = 0;

  // Between host and device memory, in order with the ops; both are done with the host's side on
  // return.
  virtual void upload(void* to, const void* from, size_t bytes) = 0;
  virtual void download(void* to, const void* from, size_t bytes) = 0;
  // 64-bit word i becomes (random_bits(seed, i) & keep) | set: random weights in place.
  virtual void fill_random(std::byte* to, size_t bytes, uint64_t seed, uint64_t keep,
                           uint64_t set) = 0;

  // Runs the ops that `issue` calls, all of one step. Where a step is recorded and replayed, a
  // `key` other than 0 says that `issue` makes the same calls with the same arguments as any
  // earlier step of that key, but for the contents of ids and the positions and slots of the
  // segments; `issue` is then not called again. Errors: what `issue` returns.
  [[nodiscard]] virtual Status run_step(const StepTokens& tokens, uint64_t key,
                                        const std::function<Status()>& issue) = 0;
  virtual void synchronize() = 0;

  virtual void rms_norm(const RmsNormArgs& args) = 0;
  virtual void quantize(const QuantizeArgs& args) = 0;
  virtual void project(const ProjectArgs& args) = 0;
  virtual void embed(const EmbedArgs& args) = 0;
  virtual void route(const RouteArgs& args) = 0;
  virtual void place_experts(const PlaceExpertsArgs& args) = 0;
  virtual void experts(const ExpertsArgs& args) = 0;
  // The experts op in parts, with the same bits: begin, then ranges that ascend and cover every
  // expert that was chosen, then end; no other op between, at least one token. Only the experts of
  // a range are read by its call. Those without an address in the table, which must be
  // 5-bit codes, are left out: their outputs are put after the ranges, and read by the time the
  // device is next waited for.
  virtual void begin_experts(const ExpertsArgs& args) = 0;
  virtual void some_experts(const ExpertsArgs& args, const ExpertRange& range) = 0;
  virtual void put_experts(const ExpertsArgs& args, const ExpertRows& rows) = 0;
  virtual void end_experts(const ExpertsArgs& args) = 0;
  virtual void mlp(const MlpArgs& args) = 0;
  virtual void silu_gate(const SiluGateArgs& args) = 0;
  virtual void add(const AddArgs& args) = 0;
  virtual void mamba(const MambaArgs& args) = 0;
  virtual void rotary(const RotaryArgs& args) = 0;
  virtual void attention(const AttentionArgs& args) = 0;
  virtual void sample(const SampleArgs& args) = 0;

  // Non-finite activations set a sticky flag instead of stopping a kernel, when a block of them is
  // rotated: by every op that fills a QuantizedView, and by experts and mlp for their hidden layer.
  // The step's owner asks after each step and fails it. Reading clears the flag.
  [[nodiscard]] virtual bool take_non_finite() = 0;
};

// The scalar oracle: plain loops, FP64 sums where the arithmetic is not pinned. Never fast.
[[nodiscard]] std::unique_ptr<Backend> make_reference_backend(Compute compute);

}  // namespace hlwq
