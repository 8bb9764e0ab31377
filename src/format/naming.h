#pragma once
// How wire variants name the tensors of one coded matrix, and which parameter such a name means
// (docs/format.md#names).

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "format/checkpoint.h"

namespace hlwq {

// A coded matrix is a set of tensors "<key><suffix>". Roles a rule lacks are "".
struct NamingRule {
  std::string_view codes, norms;
  std::string_view table, scaled_table;  // levels; levels / sqrt(128)
  std::string_view meta;
  std::string_view input_scales, residual_signs;  // F9 only
  bool stream = false;                            // codes are an M stream unless one a byte
};

// Suffixes of code tensors are tried in this order; none is the tail of another.
inline constexpr NamingRule kNamingRules[] = {
    {".codes", ".norms", ".ct", ".ct_scaled", "", ".awq_scales", ".qjl_signs", false},  // F1-F4, F9
    {".codes_packed", ".norms", ".ct", ".ct_scaled", "", "", "", false},                // F1
    {"__codes", "__norms", "__ct", "__ct_scaled", "", "__awq_scales", "__qjl_signs", false},  // F5
    {"__packed", "__norms", "__ct", "__ct_scaled", "__meta", "", "", true},  // F6, F7
};

struct CodeName {
  const NamingRule* rule = nullptr;
  std::string_view key;  // part of the name given
};

// The rule a tensor's name follows as a code tensor, if any.
[[nodiscard]] std::optional<CodeName> match_code_name(std::string_view name);

// True when the name ends as a norm, table or meta tensor of some rule does.
[[nodiscard]] bool is_companion_name(std::string_view name);

// "a.b.weight.weight" -> "a.b.weight": a spelling some readers make when they write again.
[[nodiscard]] std::string_view without_doubled_weight(std::string_view name);

// Keys of coded matrices to parameter names.
class ParameterNames {
 public:
  explicit ParameterNames(std::span<const ExpectedTensor> expected);

  struct Match {
    std::string name;                          // the parameter's
    const ExpectedTensor* expected = nullptr;  // when the caller's model has it
    bool slice = false;                        // one expert of a fused tensor (F8)
  };
  // A key with dots is the name itself. One without is looked up among the expected names written
  // forward ("." as "__"), because reading it backward is ambiguous, and read backward only when
  // none is found. "<fused>_e<index>" is expert <index> of a fused tensor.
  [[nodiscard]] Match match(std::string_view key) const;
  [[nodiscard]] const ExpectedTensor* find(std::string_view name) const;

 private:
  struct Forward {
    const ExpectedTensor* expected;
    bool slice;
  };
  std::unordered_map<std::string, const ExpectedTensor*> by_name_;
  std::unordered_map<std::string, Forward> by_dunder_;
};

}  // namespace hlwq
