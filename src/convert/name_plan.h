#pragma once
// The tensors of a source checkpoint under the names a converted one gets: the canonical
// spelling of the architecture, and one entry for each expert of a fused 3-D tensor.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "format/checkpoint.h"
#include "model/config.h"
#include "model/tensor_names.h"

namespace hlwq {

// One tensor to convert. `slice` >= 0: that row of a fused tensor's dimension 0.
struct SourceTensor {
  std::string name;
  std::vector<int64_t> shape;
  const Checkpoint* checkpoint = nullptr;  // the source's own, or its base
  const CheckpointTensor* stored = nullptr;
  int64_t slice = -1;
};

// A source opened for conversion.
struct Source {
  std::optional<ModelConfig> config;             // none: no config.json, or another architecture
  std::vector<ExpectedTensor> expected;          // empty without a config
  std::unique_ptr<Checkpoint> checkpoint, base;  // base: null when nothing is taken from it
  std::vector<SourceTensor> tensors;             // in the order of the source's files
  std::vector<std::string> missing;              // expected, in neither the source nor the base
  std::vector<std::string> unknown;              // in the source and not of the model
  std::vector<std::string> from_base;            // expected, taken from the base
};

// Opens `path` (folder or file). An architecture this engine does not know is accepted (logged):
// its names stay as they are. Errors: those of Checkpoint::open; a malformed config.json.
[[nodiscard]] Result<Source> open_source(const std::string& path, const std::string& base = "");

// kMissing naming what `source.missing` lists and how to supply it; success when it is empty.
[[nodiscard]] Status require_complete(const Source& source, const std::string& path);

// Row-major view of a source tensor for reading: its first row and rows in the stored tensor's
// dimension 0, and the width of a row. A slice counts its own dimension 0 (shape[0] of the slice).
[[nodiscard]] Status read_rows_f32(const SourceTensor& tensor, int64_t first_row, int64_t rows,
                                   std::span<float> out);

}  // namespace hlwq
