#pragma once
// Checkpoints that are neither plain nor HLWQ: recognised, so that the refusal names them.

#include <string>

#include "base/result.h"
#include "io/shards.h"

namespace hlwq {

// Refuses quantized formats of others by their tensor names and dtypes: CompressedTensors, FP8/FP4
// with scales, GPTQ/AWQ, bitsandbytes, EOQ. Errors: kUnsupported, naming the format and a tensor.
[[nodiscard]] Status refuse_foreign_tensors(const ShardSet& shards);

// What to say about a path with no safetensors where one would be read: pickles, or "PQ<bits>"
// folders of which one has to be named. ok() when there is nothing special about it.
[[nodiscard]] Status refuse_foreign_folder(const std::string& path);

}  // namespace hlwq
