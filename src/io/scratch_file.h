#pragma once
// A file without a name, for data that has no room in memory: filled through a mapping, read by
// position. It is gone when the process is.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "tensor/buffer.h"

namespace hlwq {

class ScratchFile {
 public:
  // In `folder`, with its whole length reserved on the disk. Errors: kIo (also: no room).
  static Result<ScratchFile> create(const std::string& folder, uint64_t bytes);
  ScratchFile(ScratchFile&& other) noexcept;
  ScratchFile& operator=(ScratchFile&& other) noexcept;
  ~ScratchFile();

  // Bytes [offset, offset + bytes) to be written; offset a multiple of the page size. The mapping
  // may outlive this. Errors: kOutOfMemory.
  [[nodiscard]] Result<Buffer> map(uint64_t offset, size_t bytes, std::string_view what) const;
  // What was written there. A plain read: a file that has become shorter is an error, not a signal.
  // Safe from several threads. Errors: kIo.
  [[nodiscard]] Status read(uint64_t offset, std::span<std::byte> out) const;

  [[nodiscard]] int descriptor() const { return fd_; }

 private:
  ScratchFile() = default;
  int fd_ = -1;
  std::string folder_;
};

}  // namespace hlwq
