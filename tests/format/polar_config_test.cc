#include "format/polar_config.h"

#include <gtest/gtest.h>

namespace hlwq {
namespace {

TEST(PolarConfig, ReadsEveryKey) {
  const auto config = parse_polar_config(
      R"({"format":"polarengine_v5","block_size":128,"bits":5,"base_model":"a/b","quantization":7,
          "bit_assignment":{"proj":3,"o_proj":6},"results":[1],"usage":null,
          "layers":{"a.o_proj":{"in_features":200,"out_features":24,"bits":4,"in_f_padded":256,
                                "n_blocks":2,"packed":true,"packed_q5":false},"b":{}}})",
      "p");
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->format, "polar_engine_v5");
  EXPECT_EQ(config->base_model, "a/b");
  EXPECT_EQ(config->bits_by_rule("x.o_proj"), 6) << "the longest substring wins";
  EXPECT_EQ(config->bits_by_rule("x.q_proj"), 3);
  EXPECT_EQ(config->bits_by_rule("x"), 5);
  const PolarLayerRow* row = config->row({"missing", "a.o_proj"});
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(row->in_features, 200);
  EXPECT_EQ(row->out_features, 24);
  EXPECT_EQ(row->bits, 4);
  EXPECT_EQ(row->padded, 256);
  EXPECT_EQ(row->blocks, 2);
  EXPECT_EQ(row->packed, true);
  EXPECT_EQ(row->packed_q5, false);
  EXPECT_EQ(config->row({"missing"}), nullptr);
}

TEST(PolarConfig, FormatNamesGiveTheWidthLast) {
  EXPECT_EQ(parse_polar_config(R"({"format":"hlwq-q3"})", "p")->bits_by_rule("x"), 3);
  EXPECT_EQ(parse_polar_config(R"({"format":"hlwq-q3","bits":4})", "p")->bits_by_rule("x"), 4);
  const auto unknown = parse_polar_config(R"({"format":"polar_engine_v9"})", "p");
  ASSERT_TRUE(unknown.has_value());
  EXPECT_EQ(unknown->format, "");
}

TEST(PolarConfig, RefusesWhatItIsNot) {
  struct Case {
    const char* text;
    ErrorCode code;
    const char* message;
  };
  for (const Case& c : {
           Case{"[]", ErrorCode::kBadHeader, "object"},
           Case{"{", ErrorCode::kBadHeader, "p"},
           Case{R"({"format":5})", ErrorCode::kBadHeader, "format"},
           Case{R"({"bits":"5"})", ErrorCode::kBadHeader, "bits"},
           Case{R"({"bits":5.0})", ErrorCode::kBadHeader, "bits"},
           Case{R"({"bits":0})", ErrorCode::kBadHeader, "bits"},
           Case{R"({"bits":18446744073709551615})", ErrorCode::kBadHeader, "bits"},
           Case{R"({"block_size":64})", ErrorCode::kUnsupported, "block_size"},
           Case{R"({"bit_assignment":[]})", ErrorCode::kBadHeader, "bit_assignment"},
           Case{R"({"bit_assignment":{"q":"x"}})", ErrorCode::kBadHeader, "bit_assignment.q"},
           Case{R"({"layers":[]})", ErrorCode::kBadHeader, "layers"},
           Case{R"({"layers":{"a":5}})", ErrorCode::kBadHeader, "layers.a"},
           Case{R"({"layers":{"a":{"in_features":-1}}})", ErrorCode::kBadHeader, "in_features"},
           Case{R"({"layers":{"a":{"in_features":9223372036854775807}}})", ErrorCode::kBadHeader,
                "in_features"},
           Case{R"({"layers":{"a":{"packed":1}}})", ErrorCode::kBadHeader, "packed"},
           Case{R"({"layers":{"a":{"block_size":256}}})", ErrorCode::kUnsupported, "layers.a"},
           Case{R"({"layers":{"a":{"in_features_padded":128,"in_f_padded":256}}})",
                ErrorCode::kBadHeader, "in_f_padded"},
           Case{R"({"quantization_method":"PolarQuant Q5 + torchao","text_weight_bits":4})",
                ErrorCode::kUnsupported, "torchao"},
       }) {
    const auto config = parse_polar_config(c.text, "p");
    ASSERT_FALSE(config.has_value()) << c.text;
    EXPECT_EQ(config.error().code, c.code) << c.text << ": " << config.error().message;
    EXPECT_NE(config.error().message.find(c.message), std::string::npos) << config.error().message;
    EXPECT_TRUE(config.error().message.starts_with("p")) << config.error().message;
  }
}

}  // namespace
}  // namespace hlwq
