#include "ops/host_rows.h"

namespace hlwq {

F32View HostRows::read(Backend& backend, F32View rows) {
  if (backend.device() == Device::kHost) return rows;
  copy_.resize(static_cast<size_t>(rows.rows * rows.cols));
  const F32View copy = dense(static_cast<const float*>(copy_.data()), rows.rows, rows.cols);
  const size_t row_bytes = static_cast<size_t>(rows.cols) * sizeof(float);
  if (rows.stride == rows.cols) {
    backend.download(copy_.data(), rows.data, row_bytes * static_cast<size_t>(rows.rows));
    return copy;
  }
  for (int64_t r = 0; r < rows.rows; ++r)
    backend.download(copy_.data() + r * rows.cols, rows.row(r), row_bytes);
  return copy;
}

}  // namespace hlwq
