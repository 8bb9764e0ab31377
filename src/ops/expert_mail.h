#pragma once
// Memory through which a device hands some of a step's experts to the host, which multiplies them
// while the device goes on. Both read and write it: pinned host memory. This header is for host and
// device.
//
// Protocol. For each place_experts the device asks once. Questions are numbered; one without work
// is a number alone, and nobody waits for it. To one with work the host answers before the device
// asks again: what either side reads does not change under its hands.

#include <cstddef>
#include <cstdint>

#include "base/host_device.h"
#include "ops/array_layout.h"
#include "quant/block.h"

namespace hlwq {

// Of the largest question.
struct ExpertMailShape {
  int64_t experts = 0, experts_used = 0;
  int64_t tokens = 0;
  int64_t blocks = 0;  // of an input row
  int64_t width = 0;   // of an output row

  [[nodiscard]] HLWQ_HD int64_t choices() const { return tokens * experts_used; }
};

struct ExpertQuestion {
  int32_t layer = 0, tokens = 0;
  int32_t experts = 0;  // that the host multiplies by
};

// What the bus did for the device since the beginning.
struct BusTime {
  uint64_t ns = 0;       // during which records came
  uint64_t records = 0;  // of experts
};

struct ExpertMail {
  ExpertMailShape shape;

  // The host's, which may change it at any time: of m experts that are in no slot, shares[m] are
  // for the host.
  int32_t* shares = nullptr;  // [experts + 1]

  // The device's, of the question.
  ExpertQuestion* question = nullptr;
  int32_t* experts = nullptr;  // [question.experts], ascending
  int32_t* ids = nullptr;      // [tokens, experts_used]
  int8_t* xq = nullptr;        // [tokens, blocks * kBlock] ...
  float* sx = nullptr;         // ... [tokens, blocks]
  int32_t* sum = nullptr;
  BusTime* bus = nullptr;
  uint64_t* asked = nullptr;  // written last: 2 * number + 1 when there is work, else + 0

  // The host's, of the answer.
  int64_t* rows = nullptr;       // how many choices it multiplied
  int32_t* choices = nullptr;    // [rows] which
  float* y = nullptr;            // [rows, width]
  uint64_t* answered = nullptr;  // written last: the number of the question
};

// `asked` of a question.
HLWQ_HD inline uint64_t question_word(uint64_t number, bool work) {
  return 2 * number + (work ? 1 : 0);
}

// Bytes of the arrays and how they lie one after the other in `memory`; with null it only counts.
struct ExpertMailLayout {
  ExpertMail mail;
  int64_t bytes = 0;
};
inline ExpertMailLayout lay_out_mail(const ExpertMailShape& shape, std::byte* memory) {
  ExpertMailLayout layout;
  layout.mail.shape = shape;
  constexpr int64_t kAlign = 128;  // words that one side watches share no line with others
  ArrayLayout arrays(memory, kAlign);
  ExpertMail& m = layout.mail;
  arrays.place(m.shares, shape.experts + 1);
  arrays.place(m.question, 1);
  arrays.place(m.experts, shape.experts);
  arrays.place(m.ids, shape.choices());
  arrays.place(m.xq, shape.tokens * shape.blocks * kBlock);
  arrays.place(m.sx, shape.tokens * shape.blocks);
  arrays.place(m.sum, shape.tokens * shape.blocks);
  arrays.place(m.bus, 1);
  arrays.place(m.asked, 1);
  arrays.place(m.rows, 1);
  arrays.place(m.choices, shape.choices());
  arrays.place(m.y, shape.choices() * shape.width);
  arrays.place(m.answered, 1);
  layout.bytes = arrays.bytes();
  return layout;
}

}  // namespace hlwq
