#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <iterator>

#include "base/check.h"

namespace hlwq {
namespace {

struct Expected {
  DType dtype;
  std::string_view name;
  int bytes;
  bool is_weight_float;
};

// Names and widths as in the safetensors format.
constexpr Expected kExpected[] = {
    {DType::kBool, "BOOL", 1, false},      {DType::kU8, "U8", 1, false},
    {DType::kI8, "I8", 1, false},          {DType::kU16, "U16", 2, false},
    {DType::kI16, "I16", 2, false},        {DType::kU32, "U32", 4, false},
    {DType::kI32, "I32", 4, false},        {DType::kU64, "U64", 8, false},
    {DType::kI64, "I64", 8, false},        {DType::kF8E4M3, "F8_E4M3", 1, false},
    {DType::kF8E5M2, "F8_E5M2", 1, false}, {DType::kF16, "F16", 2, true},
    {DType::kBF16, "BF16", 2, true},       {DType::kF32, "F32", 4, true},
    {DType::kF64, "F64", 8, false},
};

TEST(DType, EveryTypeHasItsNameAndWidth) {
  // kF64 is the last: a type added behind it must be added here.
  ASSERT_EQ(std::size(kExpected), static_cast<size_t>(DType::kF64) + 1);
  for (const Expected& row : kExpected) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(name_of(row.dtype), row.name);
    EXPECT_EQ(bytes_of(row.dtype), row.bytes);
    EXPECT_EQ(parse_dtype(row.name), row.dtype);
    EXPECT_EQ(is_weight_float(row.dtype), row.is_weight_float);
  }
}

TEST(DType, OtherNamesAreNoType) {
  for (const char* name : {"", "f32", "F32 ", " F32", "F", "BF", "F8", "F4", "bool", "float32"})
    EXPECT_EQ(parse_dtype(name), std::nullopt) << name;
}

TEST(DType, ValueOutsideTheTableIsABrokenPromise) {
  EXPECT_THROW((void)bytes_of(static_cast<DType>(200)), BrokenPromise);
}

}  // namespace
}  // namespace hlwq
