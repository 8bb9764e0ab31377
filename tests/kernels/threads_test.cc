// The number of threads changes no bit, also where the arithmetic is not pinned: work is divided by
// shapes and positions alone.

#include <string_view>

#include "kernels/backends.h"
#include "tests/kernels/op_test_support.h"

namespace hlwq::test {
namespace {

constexpr MambaShape kMamba{4, 16, 2, 24, 4};
constexpr AttentionShape kAttention{6, 2, 20};
constexpr int64_t kTokens = 70, kWidth = 333, kExperts = 24, kUsed = 3;

void append(std::vector<float>& all, const std::vector<float>& values) {
  all.insert(all.end(), values.begin(), values.end());
}

// Products with a plain and a coded matrix, norm and router.
void run_rows(Backend& backend, Random& random, int64_t tokens, std::vector<float>& all) {
  const PlainMatrix plain = random_plain(random, DType::kBF16, 61, kWidth);
  const CodedMatrix coded =
      random_coded(random, symmetric_grid(5), CodeLayout::kTiled5, 61, kWidth);
  TestActivation x(tokens, kWidth, random.normals(tokens * kWidth));
  x.quantize();
  const Rows y_plain(tokens, 61), y_coded(tokens, 61);
  const Projection projections[] = {{.weight = plain.matrix(), .y = y_plain.view()},
                                    {.weight = coded.matrix(), .y = y_coded.view()}};
  backend.project({.x = x.view(), .projections = projections});
  append(all, y_plain.values());
  append(all, y_coded.values());

  const Array<float> weight(random.normals(kWidth)), bias(random.normals(kExperts));
  const TestActivation normed(tokens, kWidth);
  const PlainMatrix gate = random_plain(random, DType::kBF16, kExperts, kWidth, 0.1);
  const Array<int32_t> ids(tokens * kUsed);
  const Array<float> weights(tokens * kUsed);
  backend.route({.norm = {.x = x.x.view(), .weight = weight.data(), .eps = 1e-5f},
                 .u = normed.view(),
                 .gate = gate.matrix(),
                 .correction_bias = bias.data(),
                 .groups = 1,
                 .groups_used = 1,
                 .experts_used = kUsed,
                 .normalize = true,
                 .scale = 2.5f,
                 .ids = ids.data(),
                 .weights = weights.data()});
  append(all, normed.x.values());
  append(all, {weights.span().begin(), weights.span().end()});
}

// A prompt from position 0 through a Mamba mixer and an attention.
void run_sequence(Backend& backend, Random& random, int64_t tokens, std::vector<float>& all) {
  const Segment segment{.first_token = 0, .tokens = tokens, .position = 0, .slot = 0};
  const Rows projected(tokens, kMamba.projected(), random.normals(tokens * kMamba.projected()));
  const Array<float> conv_weight(random.normals(kMamba.conv_channels() * kMamba.kernel, 0.5));
  const Array<float> per_head(random.normals(kMamba.heads)), norm(random.normals(kMamba.inner()));
  const Array<float> conv_state(kMamba.conv_channels() * (kMamba.kernel - 1));
  const Array<float> ssm_state(kMamba.inner() * kMamba.state);
  const TestActivation mixed(tokens, kMamba.inner());
  backend.mamba({.shape = kMamba,
                 .projected = projected.view(),
                 .conv_weight = conv_weight.data(),
                 .conv_bias = nullptr,
                 .dt_bias = per_head.data(),
                 .a_log = per_head.data(),
                 .d = per_head.data(),
                 .dt_min = 0.0f,
                 .dt_max = 100.0f,
                 .norm_weight = norm.data(),
                 .eps = 1e-5f,
                 .conv_state = conv_state.data(),
                 .ssm_state = ssm_state.data(),
                 .segments = {&segment, 1},
                 .out = mixed.view()});
  append(all, mixed.x.values());
  append(all, {ssm_state.span().begin(), ssm_state.span().end()});

  const int64_t q_width = kAttention.heads * kAttention.head_dim;
  const int64_t kv_width = kAttention.kv_heads * kAttention.head_dim;
  const Rows q(tokens, q_width, random.normals(tokens * q_width));
  const Rows k(tokens, kv_width, random.normals(tokens * kv_width));
  const Rows v(tokens, kv_width, random.normals(tokens * kv_width));
  const int64_t page_bytes = 2 * kv_width * kPageTokens * 2;
  const Array<std::byte> pages(2 * page_bytes);
  const Array<int32_t> tables(std::vector<int32_t>{1, 0});
  const TestActivation attended(tokens, q_width);
  backend.attention({.shape = kAttention,
                     .q = q.view(),
                     .k = k.view(),
                     .v = v.view(),
                     .pages = {pages.data(), DType::kF16, page_bytes, tables.data(), 2},
                     .segments = {&segment, 1},
                     .out = attended.view()});
  append(all, attended.x.values());
}

std::vector<float> everything(const BackendOptions& options) {
  const auto backend = make_cpu_backend(options);
  EXPECT_TRUE(backend);
  EXPECT_TRUE((*backend)->reserve({.tokens = kTokens,
                                   .width = kWidth,
                                   .mlp_width = kWidth,
                                   .experts = kExperts,
                                   .experts_used = kUsed,
                                   .context = kTokens,
                                   .attention = kAttention,
                                   .mamba = kMamba}));
  std::vector<float> all;
  Random random(801);
  for (const int64_t tokens : {int64_t{1}, int64_t{5}, kTokens}) {
    run_rows(**backend, random, tokens, all);
    run_sequence(**backend, random, tokens, all);
  }
  return all;
}

TEST(Threads, DoNotChangeBits) {
  for (const std::string_view isa : {"portable", "avx2", "avx512", "amx"}) {
    for (const Compute compute : {Compute::kInt8, Compute::kExact}) {
      const BackendOptions one{.threads = 1, .compute = compute, .isa = isa};
      if (!make_cpu_backend(one)) continue;  // not on this machine
      const std::vector<float> want = everything(one);
      for (const int threads : {2, 3, 7}) {
        EXPECT_TRUE(
            same_bits(want, everything({.threads = threads, .compute = compute, .isa = isa})))
            << isa << ", " << threads << " threads";
      }
    }
  }
}

}  // namespace
}  // namespace hlwq::test
