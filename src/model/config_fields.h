#pragma once
// Typed reads of config.json, for the parsers of the architectures.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "io/json.h"

namespace hlwq {

// Limits on numbers from outside. They are far above every published model, and low enough that
// widths, offsets and lists of names computed from them cannot overflow or eat the memory.
inline constexpr int64_t kMostDimension = (int64_t{1} << 31) - 1;
inline constexpr int64_t kMostLayers = 4096;  // mixers

// One JSON object, which must outlive this. The first problem is kept and the reads go on with the
// default, so that a parser is a plain list of keys. The names of a read are aliases: they must
// agree, and null counts as absent.
class ConfigFields {
 public:
  using Names = std::initializer_list<const char*>;

  // `where` begins every message.
  ConfigFields(const Json& object, std::string where);

  // The first problem, if there was one.
  [[nodiscard]] Status status() const;
  void refuse(ErrorCode code, const std::string& message);
  // Refuses a value, saying what was wanted.
  void wanted(Names names, const Json& got, const std::string& what);

  // The value under one of the names, or null.
  [[nodiscard]] const Json* find(Names names);
  // Whether the key is there with the value null.
  [[nodiscard]] bool is_null(const char* name) const;
  [[nodiscard]] int64_t integer(Names names, int64_t fallback, int64_t least = 1,
                                int64_t most = kMostDimension);
  [[nodiscard]] double real(Names names, double fallback, double least, double most);
  [[nodiscard]] bool flag(Names names, bool fallback);
  [[nodiscard]] std::string string(Names names, std::string fallback);
  // Token ids: a number or a list of numbers below `vocabulary`.
  [[nodiscard]] std::vector<int32_t> token_ids(Names names, int64_t vocabulary);
  // The fields of an object inside this one; its problems are to be taken over (take_status).
  [[nodiscard]] ConfigFields inside(const Json& object, std::string_view name) const;
  void take_status(const ConfigFields& inner);

  // Refusals of numbers that do not fit each other.
  void check_divides(std::string_view what, int64_t value, std::string_view by_what, int64_t by);
  void check_product(std::string_view what, std::span<const int64_t> factors,
                     int64_t most = kMostDimension);

  [[nodiscard]] static std::optional<int64_t> as_integer(const Json& value);
  // A value as it may appear in a message: one line, not too long.
  [[nodiscard]] static std::string text(const Json& value);

 private:
  const Json& object_;
  std::string where_;
  std::optional<Error> error_;
};

}  // namespace hlwq
