// The table of one instruction set; included last in its namespace.
constexpr CpuKernels make_table(const char* name) {
  return {
      .name = name,
      .norm_row = norm_row,
      .quantize_row = quantize_row,
      .rotate_row = rotate_row,
      .relu_squared = relu_squared,
      .silu_gate = silu_gate,
      .turn_pairs = turn_pairs,
      .add_scaled = add_scaled,
      .add = add,
      .plain_product = plain_product,
      .integer_product = integer_product,
      .exact_product = exact_product,
      .embed_row = embed_row,
      .convolve = convolve,
      .scan = scan,
      .attend = attend,
      .rotate_heads = rotate_heads,
      .store_half = store_half,
  };
}
