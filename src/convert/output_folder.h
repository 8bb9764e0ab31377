#pragma once
// The folder a converted checkpoint goes into, and the files of a model that are not weights.

#include <string>
#include <string_view>

#include "base/result.h"

namespace hlwq {

// kInvalidArgument when `out` is the source folder itself.
[[nodiscard]] Status require_different(const std::string& source, const std::string& out);

// Makes `folder` ready to be written: creates it; when it holds a checkpoint already, refuses
// (kInvalidArgument), or with `force` removes its weights, index and configs first, or with
// `resume` leaves them. Leftover temporary files are removed in both cases.
[[nodiscard]] Status prepare_output_folder(const std::string& folder, bool force, bool resume);

// Copies what belongs to a model besides its weights: *.json (not the index or polar_config.json),
// *.jinja, *.txt, *.model, *.tiktoken, *.py, LICENSE*, NOTICE*; regular files directly in the
// folder. config.json goes last, so that an unfinished folder does not load, with the top-level
// `config_key` set to `raw_value`, or removed when that is empty. A source that is one file has
// none. Errors: kIo.
[[nodiscard]] Status copy_model_files(const std::string& source, const std::string& out,
                                      std::string_view config_key, std::string_view raw_value);

// What polar_config.json records as base_model: the source folder's name.
[[nodiscard]] std::string base_model_name(const std::string& source);

}  // namespace hlwq
