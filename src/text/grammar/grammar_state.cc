#include "text/grammar/grammar_state.h"

#include <utility>

#include "text/grammar/grammar_machine.h"

namespace hlwq {
namespace {

// Steps between two looks at how much a machine remembers; a step adds a bounded amount.
constexpr size_t kStretchBytes = 64;

}  // namespace

GrammarState::GrammarState(std::unique_ptr<GrammarMachine> machine, uint32_t state)
    : machine_(std::move(machine)), state_(state) {}

GrammarState GrammarState::start(const Grammar& grammar) {
  auto machine = std::make_unique<GrammarMachine>(grammar.tables());
  const uint32_t state = machine->start();
  GrammarState started(std::move(machine), state);
  started.too_complex_ = state == GrammarMachine::kTooComplex;
  return started;
}

GrammarState::GrammarState(const GrammarState& other)
    : state_(other.state_), too_complex_(other.too_complex_) {
  machine_ = std::make_unique<GrammarMachine>(other.machine_->compacted(state_));
}

GrammarState& GrammarState::operator=(const GrammarState& other) {
  if (this != &other) *this = GrammarState(other);
  return *this;
}

GrammarState::GrammarState(GrammarState&&) noexcept = default;
GrammarState& GrammarState::operator=(GrammarState&&) noexcept = default;
GrammarState::~GrammarState() = default;

GrammarMachine& GrammarState::roomy_machine() const {
  machine_->rest();
  if (machine_->is_crowded()) *machine_ = machine_->compacted(state_);
  return *machine_;
}

uint32_t GrammarState::after(std::string_view bytes) const {
  GrammarMachine& machine = roomy_machine();
  uint32_t state = state_;
  for (const char byte : bytes) {
    state = machine.step(state, static_cast<uint8_t>(byte));
    if (state <= GrammarMachine::kTooComplex) break;
  }
  too_complex_ = state == GrammarMachine::kTooComplex;
  return state;
}

bool GrammarState::advance(std::string_view bytes) {
  if (bytes.size() <= kStretchBytes) {
    const uint32_t next = after(bytes);
    if (next <= GrammarMachine::kTooComplex) return false;
    state_ = next;
    return true;
  }
  GrammarState trial(*this);
  for (size_t at = 0; at < bytes.size(); at += kStretchBytes) {
    if (!trial.advance(bytes.substr(at, kStretchBytes))) {
      too_complex_ = trial.too_complex_;
      return false;
    }
  }
  *this = std::move(trial);
  return true;
}

bool GrammarState::accepts(std::string_view bytes) const {
  if (bytes.size() > kStretchBytes) return GrammarState(*this).advance(bytes);
  return after(bytes) > GrammarMachine::kTooComplex;
}

bool GrammarState::can_end() const { return machine_->can_end(state_); }
bool GrammarState::must_end() const { return can_end() && machine_->is_final(state_); }

}  // namespace hlwq
