// Conversion of Llama checkpoints: transformers' names all the way.

#include <gtest/gtest.h>

#include <set>

#include "convert/compare.h"
#include "convert/dequantize.h"
#include "convert/inspect.h"
#include "convert/quantize.h"
#include "model/tensor_names.h"
#include "tests/convert/fixtures.h"
#include "tests/model/llama_checkpoint.h"

namespace hlwq {
namespace {

std::set<std::string> names_in(const std::string& folder, bool coded) {
  const auto checkpoint = Checkpoint::open(folder);
  EXPECT_TRUE(checkpoint) << checkpoint.error().message;
  std::set<std::string> names;
  for (const CheckpointTensor& tensor : checkpoint->tensors())
    if (tensor.coded.has_value() == coded) names.insert(tensor.name);
  return names;
}

TEST(LlamaConversion, ThereAndBack) {
  for (const char* model : {"default", "llama3"}) {
    SCOPED_TRACE(model);
    const test::TemporaryCheckpoint source(test::llama_tensors(model), test::llama_folder(model));
    const auto config = read_model_config(source.folder());
    ASSERT_TRUE(config) << config.error().message;
    std::set<std::string> matrices, others;
    for (const ExpectedTensor& tensor : expected_tensors(*config))
      (tensor.shape.size() == 2 ? matrices : others).insert(tensor.name);

    const ScratchFolder scratch;
    const auto quantized = quantize_checkpoint(source.folder(), scratch / "q5", quick_options());
    ASSERT_TRUE(quantized) << quantized.error().message;
    EXPECT_EQ(names_in(scratch / "q5", true), matrices);  // gates are no routers: coded too
    EXPECT_EQ(names_in(scratch / "q5", false), others);
    EXPECT_GT(quantized->cosine_min, 0.99);

    const auto inspected = inspect_checkpoint(scratch / "q5", {});
    ASSERT_TRUE(inspected) << inspected.error().message;
    EXPECT_EQ(inspected->architecture, "LlamaForCausalLM");
    EXPECT_TRUE(inspected->missing.empty() && inspected->unknown.empty());

    const auto dequantized = dequantize_checkpoint(scratch / "q5", scratch / "plain", {});
    ASSERT_TRUE(dequantized) << dequantized.error().message;
    std::set<std::string> all = matrices;
    all.insert(others.begin(), others.end());
    EXPECT_EQ(names_in(scratch / "plain", false), all);
    const auto compared = compare_checkpoints(scratch / "q5", scratch / "plain", 1, {});
    ASSERT_TRUE(compared) << compared.error().message;
    EXPECT_GT(compared->cosine_min, 0.9999);  // BF16 rounds what the codes decode to
  }
}

TEST(LlamaConversion, MissingTensorsAreNamed) {
  const test::TemporaryCheckpoint source(test::llama_tensors("default"),
                                         test::llama_folder("default"));
  const ScratchFolder scratch;
  copy_checkpoint_without(source.folder(), scratch / "in", "layers.1.mlp.up_proj");
  const auto inspected = inspect_checkpoint(scratch / "in", {});
  ASSERT_TRUE(inspected) << inspected.error().message;
  EXPECT_EQ(inspected->missing, std::vector<std::string>{"model.layers.1.mlp.up_proj.weight"});
  const auto refused = quantize_checkpoint(scratch / "in", scratch / "out", quick_options());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kMissing);
}

}  // namespace
}  // namespace hlwq
