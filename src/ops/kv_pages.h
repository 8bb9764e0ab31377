#pragma once
// Where keys and values lie in pages, for the host and the GPU.
//
// Plain pages are [K | V][kv_heads][kPageTokens][head_dim]. With codes, a page's keys and values
// are each kept by a width of their own, [K | V][kv_heads][section]: a section of 16 bits is
// [kPageTokens][head_dim] of F16; one of codes is words [bits][head_dim / 32][kPageTokens]
// (quant/kv_codes.h), then kPageTokens scales of F16. Neighbouring words are of neighbouring
// tokens, so that the lanes of a warp expand a token each without bank conflicts.
//
// What is coded is kept exactly too while it is recent: in a ring of plain F16 pages a sequence,
// where coded halves lie rotated, so that codes and exact pages are read alike. Page i of the
// context is page i % ring_pages of the ring. Which form a query reads depends on positions alone.

#include <cstdint>

#include "base/host_device.h"
#include "ops/shapes.h"
#include "quant/kv_codes.h"

namespace hlwq {

// The tokens before a query, itself among them, that it reads exactly: at least so many, and the
// others of their oldest page.
inline constexpr int64_t kExactTokens = 128;

// Pages that the query at `position` reads from codes: those whose tokens are all further back.
HLWQ_HD constexpr int64_t coded_pages(int64_t position) {
  const int64_t older = position + 1 - kExactTokens;
  return older > 0 ? older / kPageTokens : 0;
}

// Pages of the ring of a sequence that gets up to `step_tokens` tokens a step: those the step's
// first query reads, and those it writes.
constexpr int64_t ring_pages_for(int64_t step_tokens, int64_t context) {
  const int64_t all = (context + kPageTokens - 1) / kPageTokens;
  const int64_t wanted =
      kExactTokens / kPageTokens + 1 + (step_tokens + kPageTokens - 1) / kPageTokens;
  return wanted < all ? wanted : all;
}

// Bytes of a section.
HLWQ_HD constexpr int64_t kv_section_bytes(int bits, int64_t head_dim) {
  return kPageTokens * (head_dim * bits / 8 + (bits == kPlainKvBits ? 0 : 2));
}
// Index of word `word` of elements [32 unit, 32 unit + 32) of a token.
HLWQ_HD constexpr int64_t kv_word_at(int64_t head_dim, int word, int64_t unit, int64_t token) {
  return (word * (head_dim / kKvUnit) + unit) * kPageTokens + token;
}
// Bytes before the scales.
HLWQ_HD constexpr int64_t kv_codes_bytes(int bits, int64_t head_dim) {
  return kPageTokens * head_dim * bits / 8;
}

}  // namespace hlwq
