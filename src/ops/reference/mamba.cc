// Mamba-2 between its projections, as the plain recurrence. The state is rounded to FP32 after
// every token, so that a sequence gives the same bits however it is cut into segments.

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "ops/reference/reference_backend.h"

namespace hlwq {
namespace {

double silu(double v) { return v / (1.0 + std::exp(-v)); }

double softplus(double v) { return v > 20.0 ? v : std::log1p(std::exp(v)); }

// One column of raw x, B and C enters: its convolution with the window before it, then the window
// moves. `window` is [kernel - 1], oldest first.
double convolve(const MambaArgs& args, int64_t channel, float raw, float* window) {
  const int64_t kernel = args.shape.kernel;
  const float* weight = args.conv_weight + channel * kernel;
  double sum = args.conv_bias == nullptr ? 0.0 : args.conv_bias[channel];
  for (int64_t i = 0; i + 1 < kernel; ++i) sum += static_cast<double>(weight[i]) * window[i];
  sum += static_cast<double>(weight[kernel - 1]) * raw;
  for (int64_t i = 0; i + 2 < kernel; ++i) window[i] = window[i + 1];
  if (kernel > 1) window[kernel - 2] = raw;
  return sum;
}

// S = decay * S + dt * x (outer) B for one head; y[p] = S[p] . C, with the state as stored.
void scan_head(const MambaShape& shape, double decay, double dt, const double* x, const double* b,
               const double* c, float* state, double* y) {
  for (int64_t p = 0; p < shape.head_dim; ++p) {
    float* row = state + p * shape.state;
    double sum = 0;
    for (int64_t n = 0; n < shape.state; ++n) {
      row[n] = static_cast<float>(decay * row[n] + dt * x[p] * b[n]);
      sum += row[n] * c[n];
    }
    y[p] = sum;
  }
}

}  // namespace

void ReferenceBackend::mamba(const MambaArgs& args) {
  const MambaShape& shape = args.shape;
  HLWQ_CHECK(args.projected.cols == shape.projected() && args.out.x.cols == shape.inner());
  HLWQ_CHECK(shape.heads % shape.groups == 0 && shape.kernel >= 1);
  for (const Segment& segment : args.segments) mamba_segment(args, segment);
  quantize({args.out});
}

void ReferenceBackend::mamba_segment(const MambaArgs& args, const Segment& segment) {
  const MambaShape& shape = args.shape;
  const int64_t inner = shape.inner(), channels = shape.conv_channels();
  const int64_t head_state = shape.head_dim * shape.state, group_width = inner / shape.groups;
  float* conv = args.conv_state + segment.slot * channels * (shape.kernel - 1);
  float* ssm = args.ssm_state + segment.slot * shape.heads * head_state;
  if (segment.position == 0) {
    std::fill_n(conv, channels * (shape.kernel - 1), 0.0f);
    std::fill_n(ssm, shape.heads * head_state, 0.0f);
  }
  std::vector<double> mixed(static_cast<size_t>(channels)), y(static_cast<size_t>(inner));
  for (int64_t t = segment.first_token; t < segment.first_token + segment.tokens; ++t) {
    const float* z = args.projected.row(t);
    const float* raw = z + inner;
    const float* raw_dt = raw + channels;
    for (int64_t j = 0; j < channels; ++j) {
      mixed[static_cast<size_t>(j)] =
          silu(convolve(args, j, raw[j], conv + j * (shape.kernel - 1)));
    }
    const double* x = mixed.data();
    const double* b = x + inner;
    const double* c = b + shape.groups * shape.state;
    for (int64_t h = 0; h < shape.heads; ++h) {
      const int64_t group = h / (shape.heads / shape.groups);
      const double dt =
          std::clamp(softplus(static_cast<double>(raw_dt[h]) + args.dt_bias[h]),
                     static_cast<double>(args.dt_min), static_cast<double>(args.dt_max));
      const double decay = std::exp(-dt * std::exp(static_cast<double>(args.a_log[h])));
      const double* xh = x + h * shape.head_dim;
      double* yh = y.data() + h * shape.head_dim;
      scan_head(shape, decay, dt, xh, b + group * shape.state, c + group * shape.state,
                ssm + h * head_state, yh);
      for (int64_t p = 0; p < shape.head_dim; ++p) yh[p] += args.d[h] * xh[p];
    }
    for (int64_t g = 0; g < shape.groups; ++g) {
      double* v = y.data() + g * group_width;
      double squares = 0;
      for (int64_t i = 0; i < group_width; ++i) {
        v[i] *= silu(z[g * group_width + i]);
        squares += v[i] * v[i];
      }
      const double root = std::sqrt(squares / static_cast<double>(group_width) + args.eps);
      for (int64_t i = 0; i < group_width; ++i) {
        const int64_t at = g * group_width + i;
        args.out.x.row(t)[at] = static_cast<float>(args.norm_weight[at] * (v[i] / root));
      }
    }
  }
}

}  // namespace hlwq
