#include "io/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <limits>
#include <system_error>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/checked.h"
#include "io/printable.h"

namespace hlwq {
namespace {

constexpr uint64_t kMostFileBytes = std::numeric_limits<int64_t>::max();
constexpr size_t kCopyBytes = size_t{1} << 20;

// `what` says what was tried: "read", "create a file for".
tl::unexpected<Error> system_failure(std::string_view path, std::string_view what, int error) {
  const bool missing = error == ENOENT || error == ENOTDIR;
  return fail(missing ? ErrorCode::kMissing : ErrorCode::kIo,
              fmt::format("{}: cannot {}: {}", printable(path, 4096), what,
                          std::generic_category().message(error)));
}

// A system call on an open file or its name: whatever it says, the file existed.
tl::unexpected<Error> io_failure(std::string_view path, std::string_view what, int error) {
  tl::unexpected<Error> failure = system_failure(path, what, error);
  failure.value().code = ErrorCode::kIo;
  return failure;
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

void close_quietly(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

Status sync_folder(const std::string& path) {
  const std::string folder = folder_of(path);
  int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return io_failure(folder, "open the folder to make it durable", errno);
  // EINVAL: the file system has no fsync for folders.
  const int error = ::fsync(fd) == 0 || errno == EINVAL ? 0 : errno;
  close_quietly(fd);
  if (error != 0) return io_failure(folder, "make the folder durable", error);
  return {};
}

}  // namespace

Result<InputFile> InputFile::open(const std::string& path) {
  // A name cut at its NUL would open another file.
  if (path.find('\0') != std::string::npos) return system_failure(path, "open", EINVAL);
  InputFile file;
  file.path_ = path;
  // O_NONBLOCK: opening a FIFO nobody writes to must not wait; regular files ignore it.
  file.fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file.fd_ < 0) return system_failure(path, "open", errno);
  struct stat info = {};
  if (::fstat(file.fd_, &info) != 0) return io_failure(path, "ask for the size", errno);
  if (!S_ISREG(info.st_mode))
    return fail(ErrorCode::kIo, fmt::format("{}: is {}, not a regular file", printable(path, 4096),
                                            S_ISDIR(info.st_mode) ? "a folder" : "a device"));
  file.bytes_ = static_cast<uint64_t>(info.st_size);
  return file;
}

InputFile::InputFile(InputFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      bytes_(std::exchange(other.bytes_, 0)),
      path_(std::move(other.path_)) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  InputFile moved(std::move(other));
  std::swap(fd_, moved.fd_);
  std::swap(bytes_, moved.bytes_);
  std::swap(path_, moved.path_);
  return *this;
}

InputFile::~InputFile() { close_quietly(fd_); }

Status InputFile::read(uint64_t offset, std::span<std::byte> out) const {
  HLWQ_CHECK(fd_ >= 0);
  const std::optional<uint64_t> end = checked_add(offset, out.size());
  uint64_t at = offset;
  while (!out.empty()) {
    ssize_t got = 0;
    if (end && *end <= kMostFileBytes) {
      got = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return io_failure(path_, "read", errno);
    }
    if (got == 0)
      return fail(
          ErrorCode::kIo,
          fmt::format("{}: ends before byte {}; {} bytes from {} were wanted, and it had "
                      "{} when opened",
                      printable(path_, 4096), at, out.size() + (at - offset), offset, bytes_));
    at += static_cast<uint64_t>(got);
    out = out.subspan(static_cast<size_t>(got));
  }
  return {};
}

Result<OutputFile> OutputFile::create(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);  // npos + 1 is 0: no slash
  if (name.empty() || name == "." || name == ".." || path.find('\0') != std::string::npos)
    return fail(ErrorCode::kIo,
                fmt::format("{}: cannot create: not the name of a file", printable(path, 4096)));
  struct stat info = {};
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
    return fail(ErrorCode::kIo,
                fmt::format("{}: cannot replace: it exists and is not a regular file",
                            printable(path, 4096)));

  static std::atomic<uint64_t> counter{0};
  OutputFile file;
  file.path_ = path;
  const std::string folder = path.substr(0, path.size() - name.size());
  // A process killed earlier may have had our number and left its file: take the next name.
  constexpr int kAttempts = 100;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const std::string temporary =
        fmt::format("{}.{}.tmp-{}-{}", folder, name, ::getpid(), counter.fetch_add(1));
    file.fd_ = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file.fd_ >= 0) {
      file.temporary_ = temporary;
      return file;
    }
    if (errno != EEXIST) break;
  }
  return io_failure(path, "create a file for it", errno);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      end_(std::exchange(other.end_, 0)),
      path_(std::exchange(other.path_, {})),
      temporary_(std::exchange(other.temporary_, {})) {}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  OutputFile moved(std::move(other));
  std::swap(fd_, moved.fd_);
  std::swap(end_, moved.end_);
  std::swap(path_, moved.path_);
  std::swap(temporary_, moved.temporary_);
  return *this;
}

OutputFile::~OutputFile() {
  close_quietly(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Status OutputFile::append(std::span<const std::byte> bytes) {
  HLWQ_TRY(write_at(end_, bytes));
  end_ += bytes.size();
  return {};
}

Status OutputFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  HLWQ_CHECK(fd_ >= 0);
  const std::optional<uint64_t> end = checked_add(offset, bytes.size());
  if (!end || *end > kMostFileBytes) return io_failure(path_, "write", EFBIG);
  uint64_t at = offset;
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (put < 0 && errno == EINTR) continue;
    // A short write is followed by one that names the reason; 0 would repeat for ever.
    if (put <= 0)
      return io_failure(path_, fmt::format("write {} bytes at byte {}", bytes.size(), at),
                        put == 0 ? ENOSPC : errno);
    at += static_cast<uint64_t>(put);
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
  return {};
}

Status OutputFile::commit() {
  HLWQ_CHECK(fd_ >= 0);
  if (::fsync(fd_) != 0) return io_failure(path_, "make it durable", errno);
  // Network file systems report a failed write as late as here.
  if (::close(std::exchange(fd_, -1)) != 0) return io_failure(path_, "close", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0)
    return io_failure(path_, "rename the finished file to it", errno);
  temporary_.clear();
  return sync_folder(path_);
}

Result<std::string> read_text_file(const std::string& path, uint64_t most_bytes) {
  HLWQ_TRY_ASSIGN(const InputFile file, InputFile::open(path));
  if (file.bytes() > most_bytes)
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: {} bytes, more than the {} allowed here", printable(path, 4096),
                            file.bytes(), most_bytes));
  std::string text(file.bytes(), '\0');
  HLWQ_TRY(file.read(0, std::as_writable_bytes(std::span(text))));
  return text;
}

Status write_file(const std::string& path, std::string_view content) {
  HLWQ_TRY_ASSIGN(OutputFile file, OutputFile::create(path));
  HLWQ_TRY(file.append(std::as_bytes(std::span(content))));
  return file.commit();
}

Status copy_file(const std::string& from, const std::string& to) {
  HLWQ_TRY_ASSIGN(const InputFile input, InputFile::open(from));
  HLWQ_TRY_ASSIGN(OutputFile output, OutputFile::create(to));
  std::vector<std::byte> chunk(std::min<uint64_t>(kCopyBytes, input.bytes()));
  for (uint64_t at = 0; at < input.bytes(); at += chunk.size()) {
    const std::span part(chunk.data(), std::min<uint64_t>(chunk.size(), input.bytes() - at));
    HLWQ_TRY(input.read(at, part));
    HLWQ_TRY(output.append(part));
  }
  return output.commit();
}

bool file_exists(const std::string& path) {
  struct stat info = {};
  return path.find('\0') == std::string::npos && ::stat(path.c_str(), &info) == 0 &&
         S_ISREG(info.st_mode);
}

}  // namespace hlwq
