#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/expert_tiles.h"

namespace hlwq::cuda {

// What sort_choices makes of the router's ids; device pointers.
struct SortedChoices {
  int32_t* begin;        // [experts + 1] first pair of each expert
  int32_t* pair_token;   // [pairs] the token of a pair
  int32_t* choice_pair;  // [tokens * experts_used], in the order of ids: the pair of a choice
  ExpertTile* tiles;     // at most pairs / tile_rows + min(experts, pairs)
  int32_t* tile_count;
};

// Sorts the choices ids [tokens, experts_used] by expert into pairs and cuts each expert's pairs
// into tiles of at most tile_rows. The order of an expert's pairs is any: no row's result depends
// on it. experts <= 2048.
void sort_choices(const int32_t* ids, int64_t choices, int64_t experts_used, int64_t experts,
                  int tile_rows, const SortedChoices& out, cudaStream_t stream);

}  // namespace hlwq::cuda
