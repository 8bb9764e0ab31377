#include "runtime/sequence_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "base/units.h"
#include "ops/kv_pages.h"
#include "quant/kv_codec.h"

namespace hlwq {
namespace {

constexpr int64_t kAlignFloats = 64;  // every layer's pool starts at 256 bytes
constexpr int64_t kMostSequences = int64_t{1} << 20;
constexpr int64_t kMostTokens = int64_t{1} << 36;  // of all sequences: page numbers are int32

int64_t pages_for(int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

int64_t page_count(const SequencePoolOptions& options) {
  return options.pages > 0 ? options.pages : options.sequences * pages_for(options.context);
}

// Of the ring of one sequence and layer.
int64_t ring_bytes(const StateShape& shape, const SequencePoolOptions& options) {
  if (!options.kv.coded()) return 0;
  return ring_pages_for(options.step_tokens, options.context) *
         KvForm().page_bytes(shape.attention);
}

// Sizes of the allocations.
struct PoolBytes {
  size_t states, pages, rings, tables;
};

// Nothing when a product does not fit 64 bits.
std::optional<PoolBytes> pool_bytes(const StateShape& shape, const SequencePoolOptions& options) {
  const auto state_floats = [&](int64_t per_slot) {
    return checked_product(std::array{options.sequences, per_slot});
  };
  const auto conv = state_floats(shape.mamba_layers > 0 ? shape.conv_floats() : 0);
  const auto ssm = state_floats(shape.mamba_layers > 0 ? shape.ssm_floats() : 0);
  if (!conv || !ssm || *conv > (uint64_t{1} << 60) || *ssm > (uint64_t{1} << 60))
    return std::nullopt;
  const int64_t layer_floats = round_up(static_cast<int64_t>(*conv), kAlignFloats) +
                               round_up(static_cast<int64_t>(*ssm), kAlignFloats);
  const auto states =
      checked_product(std::array{shape.mamba_layers, layer_floats, int64_t{sizeof(float)}});
  const auto pages = checked_product(std::array{shape.attention_layers, page_count(options),
                                                options.kv.page_bytes(shape.attention)});
  const auto rings = checked_product(
      std::array{shape.attention_layers, options.sequences, ring_bytes(shape, options)});
  const auto tables = checked_product(
      std::array{options.sequences, pages_for(options.context), int64_t{sizeof(int32_t)}});
  if (!states || !pages || !rings || !tables) return std::nullopt;
  return PoolBytes{static_cast<size_t>(*states), static_cast<size_t>(*pages),
                   static_cast<size_t>(*rings), static_cast<size_t>(*tables)};
}

Status check_options(const SequencePoolOptions& options) {
  if (options.sequences < 1 || options.sequences > kMostSequences)
    return fail(ErrorCode::kInvalidArgument, fmt::format("sequences: got {}, wanted 1 to {}",
                                                         options.sequences, kMostSequences));
  if (options.context < 1 || options.context > kMostTokens / options.sequences)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("context: got {} tokens for each of {} sequences, wanted 1 to {}",
                            options.context, options.sequences, kMostTokens / options.sequences));
  if (options.pages < 0 || options.pages > std::numeric_limits<int32_t>::max())
    return fail(ErrorCode::kInvalidArgument, fmt::format("pages: got {}", options.pages));
  if (options.step_tokens < 1)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("step tokens: got {}, wanted at least 1", options.step_tokens));
  return {};
}

}  // namespace

int64_t KvForm::page_bytes(const AttentionShape& shape) const {
  if (!coded()) return 2 * shape.kv_heads * kPageTokens * shape.head_dim * bytes_of(dtype);
  return shape.kv_heads * (kv_section_bytes(key_bits, shape.head_dim) +
                           kv_section_bytes(value_bits, shape.head_dim));
}

Status check_kv_form(const KvForm& form, const AttentionShape& shape) {
  if (form.dtype != DType::kF16 && (form.dtype != DType::kF32 || form.coded()))
    return fail(ErrorCode::kUnsupported,
                fmt::format("KV cache of {}: wanted F16{}", name_of(form.dtype),
                            form.coded() ? ", because it is coded" : " or F32"));
  for (const int bits : {form.key_bits, form.value_bits}) {
    if (bits != kPlainKvBits && !is_kv_code(bits))
      return fail(ErrorCode::kUnsupported,
                  fmt::format("KV cache of {} bits: wanted 16, 8, 4, 3 or 2", bits));
  }
  if (form.coded() && !is_kv_dim(shape.head_dim))
    return fail(ErrorCode::kUnsupported,
                fmt::format("a KV cache below 16 bits codes heads of a power of two from {} to {} "
                            "elements; those of this model have {}: use --kv-cache-nbits 16",
                            kLeastKvDim, kMostKvDim, shape.head_dim));
  return {};
}

size_t SequencePool::bytes_for(const StateShape& shape, const SequencePoolOptions& options) {
  const auto bytes = pool_bytes(shape, options);
  if (!bytes) return std::numeric_limits<size_t>::max();
  uint64_t sum = 0;
  for (const size_t part : {bytes->states, bytes->pages, bytes->rings, bytes->tables}) {
    const auto more = checked_add(sum, part);
    if (!more) return std::numeric_limits<size_t>::max();
    sum = *more;
  }
  return static_cast<size_t>(sum);
}

Result<SequencePool> SequencePool::create(Backend& backend, const StateShape& shape,
                                          const SequencePoolOptions& options) {
  HLWQ_TRY(check_options(options));
  HLWQ_TRY(check_kv_form(options.kv, shape.attention));
  const auto bytes = pool_bytes(shape, options);
  if (!bytes)
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("sequence memory for {} sequences of {} tokens exceeds 64 bits",
                            options.sequences, options.context));
  SequencePool pool(backend);
  pool.options_ = options;
  pool.shape_ = shape;
  HLWQ_TRY_ASSIGN(pool.states_, backend.allocate(bytes->states, "Mamba states"));
  HLWQ_TRY_ASSIGN(pool.pages_, backend.allocate(bytes->pages, "KV cache"));
  HLWQ_TRY_ASSIGN(pool.rings_, backend.allocate(bytes->rings, "the newest keys and values"));
  HLWQ_TRY_ASSIGN(pool.tables_, backend.allocate(bytes->tables, "KV page tables"));

  const int64_t conv = options.sequences * shape.conv_floats();
  const int64_t ssm = options.sequences * shape.ssm_floats();
  float* state = reinterpret_cast<float*>(pool.states_.data());
  for (int64_t layer = 0; layer < shape.mamba_layers; ++layer) {
    pool.conv_.push_back(state);
    state += round_up(conv, kAlignFloats);
    pool.ssm_.push_back(state);
    state += round_up(ssm, kAlignFloats);
  }
  const int64_t pages = page_count(options);
  const int64_t page_bytes = options.kv.page_bytes(shape.attention);
  for (int64_t layer = 0; layer < shape.attention_layers; ++layer) {
    KvPages kv = {.data = pool.pages_.data() + layer * pages * page_bytes,
                  .dtype = options.kv.dtype,
                  .page_bytes = page_bytes,
                  .tables = pool.tables_.as<int32_t>().data(),
                  .table_stride = pages_for(options.context)};
    if (options.kv.coded()) {
      kv.key_bits = options.kv.key_bits;
      kv.value_bits = options.kv.value_bits;
      kv.ring = pool.rings_.data() + layer * options.sequences * ring_bytes(shape, options);
      kv.ring_pages = ring_pages_for(options.step_tokens, options.context);
    }
    pool.kv_.push_back(kv);
  }
  for (int64_t page = pages - 1; page >= 0; --page)
    pool.free_pages_.push_back(static_cast<int32_t>(page));
  for (int64_t slot = options.sequences - 1; slot >= 0; --slot) pool.free_slots_.push_back(slot);
  pool.slot_pages_.resize(static_cast<size_t>(options.sequences));
  pool.is_open_.resize(static_cast<size_t>(options.sequences), false);
  return pool;
}

Result<int64_t> SequencePool::open() {
  if (free_slots_.empty())
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("all {} sequences are in use", options_.sequences));
  const int64_t slot = free_slots_.back();
  free_slots_.pop_back();
  is_open_[static_cast<size_t>(slot)] = true;
  return slot;
}

void SequencePool::close(int64_t slot) {
  HLWQ_CHECK(slot >= 0 && slot < options_.sequences && is_open_[static_cast<size_t>(slot)]);
  std::vector<int32_t>& pages = slot_pages_[static_cast<size_t>(slot)];
  free_pages_.insert(free_pages_.end(), pages.rbegin(), pages.rend());
  pages.clear();
  is_open_[static_cast<size_t>(slot)] = false;
  free_slots_.push_back(slot);
}

Status SequencePool::grow(int64_t slot, int64_t tokens) {
  HLWQ_CHECK(slot >= 0 && slot < options_.sequences && is_open_[static_cast<size_t>(slot)]);
  if (tokens < 0 || tokens > options_.context)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("a sequence of {} tokens does not fit the context of {} (--context)",
                            tokens, options_.context));
  std::vector<int32_t>& pages = slot_pages_[static_cast<size_t>(slot)];
  const int64_t wanted = pages_for(tokens) - static_cast<int64_t>(pages.size());
  if (wanted > static_cast<int64_t>(free_pages_.size()))
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("KV cache: {} more pages of {} tokens wanted, {} free of {}", wanted,
                            kPageTokens, free_pages_.size(), page_count(options_)));
  if (wanted <= 0) return {};
  const auto first = static_cast<int64_t>(pages.size());
  for (int64_t i = 0; i < wanted; ++i) {
    pages.push_back(free_pages_.back());
    free_pages_.pop_back();
  }
  int32_t* const table = tables_.as<int32_t>().data() + slot * pages_for(options_.context);
  backend_->upload(table + first, pages.data() + first,
                   static_cast<size_t>(wanted) * sizeof(int32_t));
  return {};
}

int64_t SequencePool::pages() const { return page_count(options_); }

int64_t SequencePool::page_bytes() const {
  return shape_.attention_layers * options_.kv.page_bytes(shape_.attention);
}

size_t SequencePool::state_bytes() const {
  return static_cast<size_t>(shape_.mamba_layers * (shape_.conv_floats() + shape_.ssm_floats())) *
             sizeof(float) +
         static_cast<size_t>(shape_.attention_layers * ring_bytes(shape_, options_));
}

int64_t SequencePool::open_sequences() const {
  return options_.sequences - static_cast<int64_t>(free_slots_.size());
}

std::vector<std::span<std::byte>> SequencePool::states_of(int64_t slot) const {
  HLWQ_CHECK(slot >= 0 && slot < options_.sequences && is_open_[static_cast<size_t>(slot)]);
  std::vector<std::span<std::byte>> parts;
  const auto add = [&](float* layer, int64_t floats) {
    parts.push_back(
        std::as_writable_bytes(std::span(layer + slot * floats, static_cast<size_t>(floats))));
  };
  for (float* const layer : conv_) add(layer, shape_.conv_floats());
  for (float* const layer : ssm_) add(layer, shape_.ssm_floats());
  const int64_t ring = ring_bytes(shape_, options_);
  for (const KvPages& layer : kv_)
    if (ring > 0) parts.emplace_back(layer.ring + slot * ring, static_cast<size_t>(ring));
  return parts;
}

std::vector<std::span<std::byte>> SequencePool::page_of(int64_t slot, int64_t page) const {
  HLWQ_CHECK(slot >= 0 && slot < options_.sequences && is_open_[static_cast<size_t>(slot)]);
  const int64_t number = slot_pages_[static_cast<size_t>(slot)].at(static_cast<size_t>(page));
  std::vector<std::span<std::byte>> parts;
  for (const KvPages& layer : kv_)
    parts.emplace_back(layer.data + number * layer.page_bytes,
                       static_cast<size_t>(layer.page_bytes));
  return parts;
}

SequenceMemory SequencePool::memory() const { return {.conv = conv_, .ssm = ssm_, .kv = kv_}; }

}  // namespace hlwq
