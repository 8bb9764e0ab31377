#include "io/scratch_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/units.h"
#include "io/printable.h"

namespace hlwq {
namespace {

constexpr size_t kMostRead = size_t{1} << 30;  // what one system call takes

tl::unexpected<Error> failure(const std::string& folder, const std::string& what, int error) {
  return fail(ErrorCode::kIo, fmt::format("{}: cannot {}: {}", printable(folder, 4096), what,
                                          std::generic_category().message(error)));
}

void unmap(void* data, size_t bytes) noexcept { ::munmap(data, bytes); }

}  // namespace

Result<ScratchFile> ScratchFile::create(const std::string& folder, uint64_t bytes) {
  ScratchFile file;
  file.folder_ = folder;
  file.fd_ = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file.fd_ < 0) {
    // Not every file system has files without names: make one and take its name away.
    std::string name = folder + "/.hlwq-scratch-XXXXXX";
    file.fd_ = ::mkostemp(name.data(), O_CLOEXEC);
    if (file.fd_ < 0) return failure(folder, "make a scratch file", errno);
    static_cast<void>(::unlink(name.c_str()));
  }
  if (const int error = ::posix_fallocate(file.fd_, 0, static_cast<off_t>(bytes)); error != 0)
    return failure(
        folder,
        fmt::format("reserve {} for a scratch file", format_bytes(static_cast<int64_t>(bytes))),
        error);
  return file;
}

ScratchFile::ScratchFile(ScratchFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), folder_(std::move(other.folder_)) {}

ScratchFile& ScratchFile::operator=(ScratchFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(folder_, other.folder_);
  return *this;
}

ScratchFile::~ScratchFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<Buffer> ScratchFile::map(uint64_t offset, size_t bytes, std::string_view what) const {
  if (bytes == 0) return Buffer();
  void* const data =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, static_cast<off_t>(offset));
  if (data == MAP_FAILED)
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("{}: the system refused to map {} of a scratch file in {}", what,
                            format_bytes(static_cast<int64_t>(bytes)), printable(folder_, 4096)));
  return Buffer(data, bytes, Device::kHost, unmap);
}

Status ScratchFile::read(uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got =
        ::pread(fd_, out.data(), std::min(out.size(), kMostRead), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failure(folder_, "read a scratch file", errno);
    if (got == 0)
      return fail(ErrorCode::kIo, fmt::format("{}: a scratch file ends {} bytes early at byte {}",
                                              printable(folder_, 4096), out.size(), offset));
    out = out.subspan(static_cast<size_t>(got));
    offset += static_cast<uint64_t>(got);
  }
  return {};
}

}  // namespace hlwq
