// Whether one launch can look a layer's experts up and multiply by any of them.

#include <fmt/format.h>

#include "kernels/cuda/cuda_backend.h"

namespace hlwq::cuda {
namespace {

// Kernels read whole words of matrices whose addresses the host does not see again.
constexpr uintptr_t kMatrixAlign = 16;

bool same_table(const LevelGrid& a, const LevelGrid& b) {
  return &a == &b || (a.bits == b.bits && a.step == b.step && a.wide == b.wide && a.v == b.v);
}

bool same_form(const Matrix& a, const Matrix& b) {
  if (a.rows != b.rows || a.cols != b.cols || a.coded() != b.coded()) return false;
  return a.coded() ? a.layout == b.layout && same_table(*a.grid, *b.grid) : a.dtype == b.dtype;
}

bool aligned(const Matrix& m) { return reinterpret_cast<uintptr_t>(m.data) % kMatrixAlign == 0; }

}  // namespace

Status CudaBackend::check_experts(std::span<const Mlp> experts) const {
  const Mlp* first = nullptr;
  for (size_t e = 0; e < experts.size(); ++e) {
    const auto& [up, down] = experts[e];
    if (up.data == nullptr && down.data == nullptr) continue;  // one that no token will choose
    if (first == nullptr) first = &experts[e];
    if (!same_form(up, first->up) || !same_form(down, first->down)) {
      return fail(
          ErrorCode::kUnsupported,
          fmt::format("expert {} differs from expert {} of its layer in shape, layout, table "
                      "or type; the CUDA back end needs them alike",
                      e, first - experts.data()));
    }
    if (!aligned(up) || !aligned(down)) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("the matrices of expert {} are not at multiples of {} bytes", e,
                              kMatrixAlign));
    }
  }
  return {};
}

}  // namespace hlwq::cuda
