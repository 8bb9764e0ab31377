#pragma once
// Folders and small checkpoints for the conversion tests.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "convert/quantize.h"
#include "io/safetensors.h"

namespace hlwq {

// A folder of its own, removed with everything in it.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// models/tiny-nemotron-h of the source tree.
[[nodiscard]] std::string tiny_model();

// Relative name -> bytes of every regular file directly in a folder.
[[nodiscard]] std::map<std::string, std::string> folder_content(const std::string& folder);

// Writes a plain checkpoint of one file; `values(name, i)` gives element i.
struct PlainTensor {
  std::string name;
  std::vector<int64_t> shape;
  DType dtype = DType::kBF16;
};
void write_plain_checkpoint(const std::string& folder, const std::vector<PlainTensor>& tensors,
                            const std::function<float(const std::string&, int64_t)>& values);

// A copy of a checkpoint folder without the tensors whose name contains `without`, as one file.
void copy_checkpoint_without(const std::string& from, const std::string& to,
                             const std::string& without);

// Settings that make the tiny model cross several shards quickly.
[[nodiscard]] QuantizeOptions quick_options();

}  // namespace hlwq
