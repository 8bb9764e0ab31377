#include "model/architecture.h"

#include <array>

#include "base/check.h"
#include "model/llama/llama.h"
#include "model/nemotron_h/nemotron_h.h"

namespace hlwq {
namespace {

constexpr std::array kArchitectures = {&nemotron_h::kTraits, &llama::kTraits};

}  // namespace

std::span<const ArchitectureTraits* const> architectures() { return kArchitectures; }

const ArchitectureTraits& traits_of(Architecture architecture) {
  for (const ArchitectureTraits* traits : kArchitectures)
    if (traits->architecture == architecture) return *traits;
  HLWQ_CHECK(false);
}

void read_common_keys(ConfigFields& fields, const CommonDefaults& defaults, ModelConfig& config) {
  config.vocabulary = fields.integer({"vocab_size"}, defaults.vocabulary);
  config.hidden = fields.integer({"hidden_size"}, defaults.hidden);
  config.tied_head = fields.flag({"tie_word_embeddings"}, false);
  config.max_positions = fields.integer({"max_position_embeddings"}, defaults.positions);
  config.eos = fields.token_ids({"eos_token_id"}, config.vocabulary);
  if (const auto ids = fields.token_ids({"bos_token_id"}, config.vocabulary); !ids.empty())
    config.bos = ids.front();
  if (const auto ids = fields.token_ids({"pad_token_id"}, config.vocabulary); !ids.empty())
    config.pad = ids.front();
}

}  // namespace hlwq
