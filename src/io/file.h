#pragma once
// Files: exact reads, and writes that leave either the whole new file or nothing.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hlwq {

// A regular file open for reading. Move-only. Reads are positional and safe from several threads.
// Plain reads, not a mapping: a file truncated while in use gives an error instead of SIGBUS.
class InputFile {
 public:
  // Errors: kMissing (no such file), kIo; names the path.
  static Result<InputFile> open(const std::string& path);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  ~InputFile();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }  // when it was opened

  // Fills `out` from `offset`. Errors: kIo, also when the file ends early.
  [[nodiscard]] Status read(uint64_t offset, std::span<std::byte> out) const;

 private:
  InputFile() = default;
  int fd_ = -1;
  uint64_t bytes_ = 0;
  std::string path_;
};

// A file being written under a temporary name beside `path`. `commit` makes it durable (fsync) and
// renames it; destruction without commit removes it. Move-only.
class OutputFile {
 public:
  // Errors: kIo (names the path).
  static Result<OutputFile> create(const std::string& path);
  [[nodiscard]] const std::string& path() const { return path_; }
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;
  ~OutputFile();

  // Errors of the writes: kIo, also for a full disk; names the path.
  // `append` continues where the append before it ended; `write_at` does not move that place and is
  // safe from several threads.
  [[nodiscard]] Status append(std::span<const std::byte> bytes);
  [[nodiscard]] Status write_at(uint64_t offset, std::span<const std::byte> bytes);
  // fsync of the file, rename over `path`, fsync of the folder. Nothing may follow it.
  [[nodiscard]] Status commit();

 private:
  OutputFile() = default;
  int fd_ = -1;
  uint64_t end_ = 0;  // where append continues
  std::string path_, temporary_;
};

// The whole file as text. Errors: kMissing, kIo, kBadHeader when it is larger than `most_bytes`.
[[nodiscard]] Result<std::string> read_text_file(const std::string& path, uint64_t most_bytes);
[[nodiscard]] Status write_file(const std::string& path, std::string_view content);
[[nodiscard]] Status copy_file(const std::string& from, const std::string& to);
// Whether `path` is a regular file, or a link to one.
[[nodiscard]] bool file_exists(const std::string& path);

}  // namespace hlwq
