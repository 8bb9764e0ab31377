#pragma once
// A checkpoint folder as one set of tensors: model.safetensors.index.json when it is there, else
// every *.safetensors in the folder, or one file named directly.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "io/safetensors.h"

namespace hlwq {

struct ShardTensor {
  const TensorEntry* entry = nullptr;
  const SafetensorsFile* file = nullptr;
};

class ShardSet {
 public:
  // `path`: a folder or one .safetensors file. With an index, every name in it must be in the shard
  // it names; shard names must be plain file names (no '/', no ".."). A tensor name that two files
  // hold is an error; one that the index leaves out is read all the same.
  // Errors: kMissing, kBadHeader, kBadLayout, kUnsupported, kIo; names the file and the tensor.
  static Result<ShardSet> open(const std::string& path);

  [[nodiscard]] const std::vector<ShardTensor>& tensors() const { return tensors_; }  // file order
  [[nodiscard]] std::optional<ShardTensor> find(std::string_view name) const;
  [[nodiscard]] const std::vector<SafetensorsFile>& files() const { return files_; }
  [[nodiscard]] const std::string& folder() const { return folder_; }
  [[nodiscard]] Status read(const ShardTensor& tensor, uint64_t offset,
                            std::span<std::byte> out) const;

 private:
  std::string folder_;
  std::vector<SafetensorsFile> files_;  // never grows after open: entries are pointed to
  std::vector<ShardTensor> tensors_;
  std::unordered_map<std::string, size_t> by_name_;
};

// Groups tensors (name, dtype and shape; offsets are not read), in order, into shards of at most
// `shard_bytes` of data; a larger tensor gets its own.
[[nodiscard]] std::vector<std::vector<TensorEntry>> plan_shards(std::vector<TensorEntry> tensors,
                                                                uint64_t shard_bytes);
// "model.safetensors" when count is 1, else "model-00001-of-0000N.safetensors" (index from 0).
[[nodiscard]] std::string shard_file_name(size_t index, size_t count);
// Writes model.safetensors.index.json for planned shards; none when there is only one.
// Errors: kInvalidArgument for a name that is not UTF-8 or is there twice; kIo.
[[nodiscard]] Status write_shard_index(const std::string& folder,
                                       const std::vector<std::vector<TensorEntry>>& shards);

}  // namespace hlwq
