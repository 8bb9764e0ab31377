#pragma once
// Checkpoints made on the spot: the tensors of a model in memory, changed by a test and written to
// a folder of its own.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "quant/codebook.h"
#include "tensor/dtype.h"

namespace hlwq::test {

struct StoredTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;
};
using StoredTensors = std::vector<StoredTensor>;

// Every tensor of a plain checkpoint, as stored.
[[nodiscard]] StoredTensors read_tensors(const std::string& folder);
[[nodiscard]] StoredTensor& tensor_named(StoredTensors& tensors, const std::string& name);

// The matrices that policy codes become codes, norms and table (variant F3). With `decoded` they
// become FP32 matrices instead, decoded with the levels as the engine has them (rounded to the
// integer grid), for comparison.
struct Coding {
  CodebookKind kind = CodebookKind::kGrid;
  int bits = 5;
  bool decoded = false;
};
[[nodiscard]] StoredTensors code_matrices(const StoredTensors& tensors, const Coding& coding);

// A temporary folder with model.safetensors and the config.json of `config_folder`, removed at the
// end of the test. `edit_config` changes the configuration's text.
class TemporaryCheckpoint {
 public:
  TemporaryCheckpoint(const StoredTensors& tensors, const std::string& config_folder,
                      const std::function<std::string(std::string)>& edit_config = {});
  ~TemporaryCheckpoint();
  TemporaryCheckpoint(const TemporaryCheckpoint&) = delete;
  TemporaryCheckpoint& operator=(const TemporaryCheckpoint&) = delete;
  [[nodiscard]] const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
};

}  // namespace hlwq::test
