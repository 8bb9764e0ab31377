// The header of a safetensors file: read with every rule checked, and written.

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>
#include <unordered_set>

#include "base/check.h"
#include "base/checked.h"
#include "base/utf8.h"
#include "io/json.h"
#include "io/printable.h"
#include "io/safetensors.h"

namespace hlwq {
namespace {

constexpr size_t kLengthBytes = 8;
constexpr size_t kDataAlign = 8;
// More than any tensor has; a rank like this is a damaged or hostile file.
constexpr size_t kMostDimensions = 16;
// Element counts and offsets are int64_t everywhere.
constexpr uint64_t kMostTensorBytes = std::numeric_limits<int64_t>::max();
constexpr std::string_view kMetadataKey = "__metadata__";

static_assert(std::endian::native == std::endian::little, "the length field is little-endian");

std::string at_tensor(std::string_view where, std::string_view name) {
  return fmt::format("{}: tensor \"{}\"", where, printable(name));
}

Result<std::map<std::string, std::string>> parse_metadata(const Json& value,
                                                          std::string_view where) {
  if (!value.is_object())
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: {} is {}, not an object", where, kMetadataKey, value.type_name()));
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string())
      return fail(ErrorCode::kBadHeader,
                  fmt::format("{}: {}, key \"{}\": {}, not a string", where, kMetadataKey,
                              printable(key), text.type_name()));
    metadata.emplace(key, text.get_ref<const std::string&>());
  }
  return metadata;
}

// Negative, fractional and quoted numbers and those above 2^64 are not "unsigned" to the parser.
const uint64_t* unsigned_of(const Json& value) {
  return value.get_ptr<const Json::number_unsigned_t*>();
}

Result<std::vector<int64_t>> parse_shape(const Json& value, std::string_view tensor) {
  if (!value.is_array())
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: shape is {}, not an array", tensor, value.type_name()));
  if (value.size() > kMostDimensions)
    return fail(ErrorCode::kUnsupported, fmt::format("{}: {} dimensions, at most {} are read",
                                                     tensor, value.size(), kMostDimensions));
  std::vector<int64_t> shape;
  for (const Json& dimension : value) {
    const uint64_t* count = unsigned_of(dimension);
    if (count == nullptr || *count > kMostTensorBytes)
      return fail(ErrorCode::kBadHeader,
                  fmt::format("{}: dimension {} is {}, not a count below 2^63", tensor,
                              shape.size(), printable(dimension.dump())));
    shape.push_back(static_cast<int64_t>(*count));
  }
  return shape;
}

Result<TensorEntry> parse_entry(const std::string& name, const Json& value,
                                std::string_view where) {
  const std::string tensor = at_tensor(where, name);
  if (!value.is_object())
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: {}, not an object", tensor, value.type_name()));
  for (const char* field : {"dtype", "shape", "data_offsets"})
    if (!value.contains(field))
      return fail(ErrorCode::kBadHeader, fmt::format("{}: no {}", tensor, field));
  // A field we don't know could change what the bytes mean.
  for (const auto& [field, unused] : value.items())
    if (field != "dtype" && field != "shape" && field != "data_offsets")
      return fail(ErrorCode::kBadHeader,
                  fmt::format("{}: unknown field \"{}\"", tensor, printable(field)));

  TensorEntry entry;
  entry.name = name;
  const Json& dtype = value.at("dtype");
  if (!dtype.is_string())
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: dtype is {}, not a string", tensor, dtype.type_name()));
  const auto& dtype_name = dtype.get_ref<const std::string&>();
  const std::optional<DType> known = parse_dtype(dtype_name);
  if (!known)
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: unknown dtype \"{}\"", tensor, printable(dtype_name)));
  entry.dtype = *known;
  HLWQ_TRY_ASSIGN(entry.shape, parse_shape(value.at("shape"), tensor));

  const Json& offsets = value.at("data_offsets");
  const uint64_t* begin = nullptr;
  const uint64_t* end = nullptr;
  if (offsets.is_array() && offsets.size() == 2) {
    begin = unsigned_of(offsets[0]);
    end = unsigned_of(offsets[1]);
  }
  if (begin == nullptr || end == nullptr)
    return fail(ErrorCode::kBadHeader, fmt::format("{}: data_offsets is {}, not [begin, end]",
                                                   tensor, printable(offsets.dump())));
  entry.begin = *begin;
  entry.end = *end;
  if (entry.end < entry.begin)
    return fail(ErrorCode::kBadLayout, fmt::format("{}: ends at byte {}, before it begins at {}",
                                                   tensor, entry.end, entry.begin));
  HLWQ_TRY_ASSIGN(const uint64_t wanted, checked_bytes(tensor, entry.dtype, entry.shape));
  if (entry.bytes() != wanted)
    return fail(
        ErrorCode::kBadLayout,
        fmt::format("{}: data_offsets span {} bytes, {} [{}] takes {}", tensor, entry.bytes(),
                    name_of(entry.dtype), fmt::join(entry.shape, ", "), wanted));
  return entry;
}

// The tensors, sorted by begin, must tile [0, data_bytes).
Status check_tiling(std::span<const TensorEntry> tensors, uint64_t data_bytes,
                    std::string_view where) {
  uint64_t at = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorEntry& tensor = tensors[i];
    if (tensor.begin > at)
      return fail(ErrorCode::kBadLayout,
                  fmt::format("{}: begins at byte {}, and bytes from {} "
                              "belong to no tensor",
                              at_tensor(where, tensor.name), tensor.begin, at));
    if (tensor.begin < at)
      return fail(ErrorCode::kBadLayout,
                  fmt::format("{}: begins at byte {}, inside tensor \"{}\", which ends at {}",
                              at_tensor(where, tensor.name), tensor.begin,
                              printable(tensors[i - 1].name), at));
    at = tensor.end;
  }
  if (at != data_bytes)
    return fail(ErrorCode::kBadLayout,
                fmt::format("{}: tensors take {} bytes of data, the file has {}{}", where, at,
                            data_bytes, data_bytes < at ? " (cut short?)" : ""));
  return {};
}

Status check_text(std::string_view text, std::string_view what) {
  if (is_utf8(text)) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} \"{}\" is not UTF-8", what, printable(text)));
}

std::string json_text(const std::string& text) { return Json(text).dump(); }

}  // namespace

Result<uint64_t> checked_bytes(std::string_view name, DType dtype, std::span<const int64_t> shape) {
  uint64_t bytes = static_cast<uint64_t>(bytes_of(dtype));
  bool is_empty = false;
  for (const int64_t dimension : shape) {
    if (dimension < 0)
      return fail(ErrorCode::kBadLayout, fmt::format("{}: negative dimension {}", name, dimension));
    is_empty |= dimension == 0;
    // The dimensions beside a 0 must fit too: code that multiplies some of them may rely on it.
    const auto product = checked_mul(bytes, static_cast<uint64_t>(std::max<int64_t>(dimension, 1)));
    if (!product || *product > kMostTensorBytes)
      return fail(ErrorCode::kBadLayout, fmt::format("{}: {} [{}] overflows 63 bits of bytes", name,
                                                     name_of(dtype), fmt::join(shape, ", ")));
    bytes = *product;
  }
  return is_empty ? 0 : bytes;
}

Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> prefix,
                                                   uint64_t file_bytes, std::string_view where) {
  if (file_bytes < kLengthBytes)
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: {} bytes, too short for the header length", where, file_bytes));
  HLWQ_CHECK(prefix.size() >= kLengthBytes);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, prefix.data(), kLengthBytes);
  if (header_bytes > kMostSafetensorsHeaderBytes)
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: header of {} bytes, more than the {} that "
                            "the format allows",
                            where, header_bytes, kMostSafetensorsHeaderBytes));
  if (header_bytes > file_bytes - kLengthBytes)
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: header of {} bytes, the file has {} after the length field", where,
                            header_bytes, file_bytes - kLengthBytes));
  HLWQ_CHECK(prefix.size() >= kLengthBytes + header_bytes);
  const std::string_view text(reinterpret_cast<const char*>(prefix.data()) + kLengthBytes,
                              header_bytes);
  if (!text.starts_with('{'))
    return fail(ErrorCode::kBadHeader, fmt::format("{}: header does not begin with '{{'", where));

  // Header, tensor, shape: three levels are all there are.
  HLWQ_TRY_ASSIGN(const Json json,
                  parse_json(text, where, {.bytes = kMostSafetensorsHeaderBytes, .depth = 3}));
  SafetensorsHeader header;
  header.data_offset = kLengthBytes + header_bytes;
  // The one object that parse_json turns into a number is {"__float__": "..."}.
  if (!json.is_object())
    return fail(ErrorCode::kBadHeader, fmt::format("{}: header is not an object", where));
  for (const auto& [name, value] : json.items()) {
    if (name == kMetadataKey) {
      HLWQ_TRY_ASSIGN(header.metadata, parse_metadata(value, where));
    } else {
      HLWQ_TRY_ASSIGN(TensorEntry entry, parse_entry(name, value, where));
      header.tensors.push_back(std::move(entry));
    }
  }
  // Empty tensors before the one that begins at the same byte.
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const TensorEntry& a, const TensorEntry& b) {
              return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
            });
  HLWQ_TRY(check_tiling(header.tensors, file_bytes - header.data_offset, where));
  return header;
}

Result<std::string> make_safetensors_header(std::vector<TensorEntry>& tensors,
                                            const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) {
    text += json_text(std::string(kMetadataKey)) + ":{";
    for (const auto& [key, value] : metadata) {
      HLWQ_TRY(check_text(key, "metadata key"));
      HLWQ_TRY(check_text(value, fmt::format("metadata value of \"{}\"", key)));
      if (text.back() != '{') text += ',';
      text += json_text(key) + ':' + json_text(value);
    }
    text += '}';
  }
  uint64_t at = 0;
  std::unordered_set<std::string_view> names;
  for (TensorEntry& tensor : tensors) {
    HLWQ_TRY(check_text(tensor.name, "tensor name"));
    if (tensor.name == kMetadataKey || !names.insert(tensor.name).second)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("tensor name \"{}\" is {}", printable(tensor.name),
                              tensor.name == kMetadataKey ? "reserved" : "given twice"));
    if (tensor.shape.size() > kMostDimensions)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("tensor \"{}\": {} dimensions, at most {} are written",
                              printable(tensor.name), tensor.shape.size(), kMostDimensions));
    HLWQ_TRY_ASSIGN(const uint64_t bytes, checked_bytes(tensor.name, tensor.dtype, tensor.shape));
    tensor.begin = at;
    tensor.end = at + bytes;  // both below 2^63
    if (tensor.end > kMostTensorBytes)
      return fail(ErrorCode::kBadLayout,
                  fmt::format("tensor \"{}\": ends past byte 2^63", printable(tensor.name)));
    at = tensor.end;
    if (text.size() > 1) text += ',';
    text += fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                        json_text(tensor.name), name_of(tensor.dtype), fmt::join(tensor.shape, ","),
                        tensor.begin, tensor.end);
  }
  text += '}';
  text.resize(static_cast<size_t>(round_up(static_cast<int64_t>(text.size()), kDataAlign)), ' ');
  if (text.size() > kMostSafetensorsHeaderBytes)
    return fail(ErrorCode::kUnsupported,
                fmt::format("safetensors header of {} bytes for {} tensors, more than the {} that "
                            "the format allows",
                            text.size(), tensors.size(), kMostSafetensorsHeaderBytes));
  const uint64_t header_bytes = text.size();
  std::string out(kLengthBytes, '\0');
  std::memcpy(out.data(), &header_bytes, kLengthBytes);
  return out + text;
}

}  // namespace hlwq
