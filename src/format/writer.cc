#include "format/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <unordered_set>

#include "base/check.h"
#include "format/writer_plan.h"
#include "io/file.h"
#include "io/printable.h"
#include "io/safetensors.h"
#include "io/shards.h"
#include "quant/block.h"
#include "quant/packing.h"

namespace hlwq {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr std::string_view kConfigName = "polar_config.json";

// FNV-1a, 64 bits: marks what two runs must share for one to continue the other.
class Fingerprint {
 public:
  void add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) {
      hash_ = (hash_ ^ static_cast<uint64_t>(byte)) * 0x100000001b3ull;
    }
  }
  void add(std::string_view text) {
    add(std::as_bytes(std::span(text)));
    add(std::array{std::byte{0}});
  }
  [[nodiscard]] std::string text() const { return fmt::format("{:016x}", hash_); }

 private:
  uint64_t hash_ = 0xcbf29ce484222325ull;
};

// In every shard's header, so that shards coded with another table or by other rules are not taken
// for finished ones of this run.
std::map<std::string, std::string> shard_metadata(const WriterOptions& options) {
  Fingerprint fingerprint;
  fingerprint.add(name_of(options.profile));
  for (const Levels& levels : options.levels_by_bits) {
    fingerprint.add(std::to_string(levels.size()));
    fingerprint.add(std::as_bytes(std::span(levels)));
  }
  for (const std::string& note : options.notes) fingerprint.add(note);
  return {{"format", "pt"}, {"hlwq", fingerprint.text()}};
}

// A file that begins with exactly these bytes and is as long as they say.
bool is_complete(const std::string& path, std::string_view header, uint64_t data_bytes) {
  const Result<InputFile> file = InputFile::open(path);
  if (!file || file->bytes() != header.size() + data_bytes) return false;
  std::string found(header.size(), '\0');
  return file->read(0, std::as_writable_bytes(std::span(found))) && found == header;
}

}  // namespace

struct HlwqWriter::Impl {
  std::string folder;
  std::vector<OutputTensor> tensors;
  WriterOptions options;
  std::map<std::string, std::string> metadata;
  std::vector<ShardPlan> shards;
  std::vector<bool> done;
  uint64_t bytes = 0;
  bool prepared = false;
  size_t current = 0;                     // shard being written
  std::optional<SafetensorsWriter> file;  // its file

  [[nodiscard]] std::string path_of(std::string_view name) const {
    return (fs::path(folder) / name).string();
  }
  [[nodiscard]] std::string shard_path(size_t shard) const {
    return path_of(shard_file_name(shard, shards.size()));
  }
  [[nodiscard]] const StoredParts& parts_of(size_t tensor) const {
    HLWQ_CHECK(file.has_value());
    const ShardPlan& shard = shards[current];
    HLWQ_CHECK(tensor >= shard.first && tensor < shard.last);
    return shard.parts[tensor - shard.first];
  }

  Status prepare();
  Status write_constants(size_t tensor);
};

// Before anything is written: the folder exists, holds no shard of another plan (a reader without
// an index would mix them in), and no side file that describes an earlier checkpoint as whole.
Status HlwqWriter::Impl::prepare() {
  if (prepared) return {};
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    return fail(ErrorCode::kIo, fmt::format("{}: cannot create: {}", folder, error.message()));
  std::unordered_set<std::string> planned;
  for (size_t i = 0; i < shards.size(); ++i) planned.insert(shard_file_name(i, shards.size()));
  fs::directory_iterator entries(folder, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    if (name.ends_with(".safetensors") && !name.starts_with('.') && !planned.contains(name))
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: holds {}, which is no file of the checkpoint to be written; "
                              "remove it or give another folder",
                              folder, printable(name)));
  }
  for (const std::string_view name : {kIndexName, kConfigName}) {
    if (!error) fs::remove(path_of(name), error);
  }
  if (error)
    return fail(ErrorCode::kIo, fmt::format("{}: cannot prepare: {}", folder, error.message()));
  prepared = true;
  return {};
}

Status HlwqWriter::Impl::write_constants(size_t tensor) {
  const StoredParts& parts = parts_of(tensor);
  const OutputTensor& output = tensors[tensor];
  if (parts.table) {
    const Levels& levels = options.levels_by_bits[static_cast<size_t>(output.bits)];
    HLWQ_TRY(file->write(*parts.table, 0, std::as_bytes(std::span(levels))));
  }
  if (parts.meta) {
    const int64_t blocks = blocks_of(output.shape[1]);
    const std::array<int64_t, 5> meta = {output.shape[0], blocks, kBlock,
                                         output.shape[0] * blocks * kBlock, output.shape[1]};
    HLWQ_TRY(file->write(*parts.meta, 0, std::as_bytes(std::span(meta))));
  }
  return {};
}

HlwqWriter::HlwqWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HlwqWriter::HlwqWriter(HlwqWriter&&) noexcept = default;
HlwqWriter& HlwqWriter::operator=(HlwqWriter&&) noexcept = default;
HlwqWriter::~HlwqWriter() = default;

Result<HlwqWriter> HlwqWriter::create(const std::string& folder, std::vector<OutputTensor> tensors,
                                      const WriterOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->folder = folder;
  impl->tensors = std::move(tensors);
  impl->options = options;
  impl->metadata = shard_metadata(options);
  HLWQ_TRY_ASSIGN(impl->shards, plan_checkpoint(impl->tensors, options));
  for (size_t i = 0; i < impl->shards.size(); ++i) {
    std::vector<TensorEntry>& entries = impl->shards[i].entries;
    HLWQ_TRY_ASSIGN(const std::string header, make_safetensors_header(entries, impl->metadata));
    const uint64_t data_bytes = entries.back().end;
    impl->bytes += data_bytes;
    impl->done.push_back(options.resume && is_complete(impl->shard_path(i), header, data_bytes));
  }
  return HlwqWriter(std::move(impl));
}

size_t HlwqWriter::shard_count() const { return impl_->shards.size(); }
uint64_t HlwqWriter::bytes() const { return impl_->bytes; }

std::pair<size_t, size_t> HlwqWriter::shard_tensors(size_t shard) const {
  HLWQ_CHECK(shard < shard_count());
  return {impl_->shards[shard].first, impl_->shards[shard].last};
}

bool HlwqWriter::shard_done(size_t shard) const {
  HLWQ_CHECK(shard < shard_count());
  return impl_->done[shard];
}

Status HlwqWriter::begin_shard(size_t shard) {
  HLWQ_CHECK(shard < shard_count() && !impl_->file && !impl_->done[shard]);
  HLWQ_TRY(impl_->prepare());
  const ShardPlan& plan = impl_->shards[shard];
  HLWQ_TRY_ASSIGN(impl_->file, SafetensorsWriter::create(impl_->shard_path(shard), plan.entries,
                                                         impl_->metadata));
  impl_->current = shard;
  for (size_t i = plan.first; i < plan.last; ++i) HLWQ_TRY(impl_->write_constants(i));
  return {};
}

Status HlwqWriter::write_rows(size_t tensor, int64_t first_row, std::span<const uint8_t> codes,
                              std::span<const uint16_t> norms) {
  const StoredParts& parts = impl_->parts_of(tensor);
  const OutputTensor& output = impl_->tensors[tensor];
  HLWQ_CHECK(parts.codes && parts.norms);
  const int64_t blocks = blocks_of(output.shape[1]);
  const auto rows = static_cast<int64_t>(norms.size()) / blocks;
  HLWQ_CHECK(norms.size() == static_cast<size_t>(rows * blocks));
  HLWQ_CHECK(codes.size() == norms.size() * kBlock);
  HLWQ_CHECK(first_row >= 0 && rows <= output.shape[0] - first_row);
  if (rows == 0) return {};

  const int most = (1 << output.bits) - 1;
  if (const auto largest = *std::ranges::max_element(codes); largest > most)
    return fail(
        ErrorCode::kBadValue,
        fmt::format("{} (rows from {}): code {} is outside the table of {} levels",
                    printable(output.name), first_row, static_cast<int>(largest), most + 1));
  const auto bad_norm =
      std::ranges::find_if(norms, [](uint16_t bits) { return bits >= 0x7c00 && bits != 0x8000; });
  if (bad_norm != norms.end())
    return fail(ErrorCode::kBadValue,
                fmt::format("{}: row {}: a norm is negative or not finite", printable(output.name),
                            first_row + (bad_norm - norms.begin()) / blocks));

  const Packing packing = packing_of(layout_of(impl_->options.profile), output.bits);
  const auto first_norm = static_cast<uint64_t>(first_row * blocks);
  const auto block_bytes = static_cast<uint64_t>(packed_bytes(packing, output.bits, kBlock));
  if (packing == Packing::kI8) {
    HLWQ_TRY(impl_->file->write(*parts.codes, first_norm * block_bytes, std::as_bytes(codes)));
  } else {
    std::vector<std::byte> packed(norms.size() * block_bytes);
    pack_codes(packing, output.bits, codes, packed);
    HLWQ_TRY(impl_->file->write(*parts.codes, first_norm * block_bytes, packed));
  }
  return impl_->file->write(*parts.norms, first_norm * sizeof(uint16_t), std::as_bytes(norms));
}

Status HlwqWriter::write_plain(size_t tensor, uint64_t offset, std::span<const std::byte> bytes) {
  const StoredParts& parts = impl_->parts_of(tensor);
  HLWQ_CHECK(parts.plain.has_value());
  return impl_->file->write(*parts.plain, offset, bytes);
}

Status HlwqWriter::end_shard() {
  HLWQ_CHECK(impl_->file.has_value());
  HLWQ_TRY(impl_->file->commit());
  impl_->file.reset();
  impl_->done[impl_->current] = true;
  return {};
}

Status HlwqWriter::finish() {
  HLWQ_CHECK(!impl_->file && std::ranges::all_of(impl_->done, [](bool done) { return done; }));
  HLWQ_TRY(impl_->prepare());
  std::vector<std::vector<TensorEntry>> shards;
  for (const ShardPlan& plan : impl_->shards) shards.push_back(plan.entries);
  HLWQ_TRY(write_shard_index(impl_->folder, shards));
  return write_file(impl_->path_of(kConfigName), make_polar_config(impl_->tensors, impl_->options));
}

}  // namespace hlwq
