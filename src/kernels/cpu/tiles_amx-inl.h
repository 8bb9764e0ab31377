// The AMX instructions the integer product uses. Tiles belong to the thread: a TileScope holds
// their shape while a task multiplies and gives the tiles back after it, so that nothing stays
// behind in a thread of the pool.

inline constexpr int kTileRows = 16;     // and 32-bit lanes of a row
inline constexpr int kTileBytes = 1024;  // 16 rows of 64 bytes

// Palette 1: eight tiles, all of 16 rows of 64 bytes.
struct alignas(64) TileShape {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileShape) == 64);

class TileScope {
 public:
  TileScope() {
    static constexpr TileShape kShape;
    _tile_loadconfig(&kShape);
  }
  ~TileScope() { _tile_release(); }
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
};

// Tiles are read by assembly that does not name its memory: stores stay on their side of this.
HLWQ_INLINE void tile_fence() { __asm__ volatile("" ::: "memory"); }

// Two halves of the sum of 16 tokens, each [16 words of k][16 t][4]: tiles 4 and 5, or 6 and 7.
template <int Second>
HLWQ_INLINE void load_tokens(const int8_t* tokens) {
  if constexpr (Second == 0) {
    _tile_loadd(4, tokens, 64);
    _tile_loadd(5, tokens + kTileBytes, 64);
  } else {
    _tile_loadd(6, tokens, 64);
    _tile_loadd(7, tokens + kTileBytes, 64);
  }
}

// dots[r][t] = sum over k of weights[r][k] * tokens[t][k], k = 0 .. 127, unsigned by signed bytes,
// stay in tiles 0 (and 1, of the second tokens). weights: the same halves, each [16 r][64].
template <int Tiles>
HLWQ_INLINE void multiply_tiles(const uint8_t* weights) {
  _tile_loadd(2, weights, 64);
  _tile_loadd(3, weights + kTileBytes, 64);
  _tile_zero(0);
  if constexpr (Tiles == 2) _tile_zero(1);
  _tile_dpbusd(0, 2, 4);
  if constexpr (Tiles == 2) _tile_dpbusd(1, 2, 6);
}
template <int Tiles>
HLWQ_INLINE void multiply_more() {
  _tile_dpbusd(0, 3, 5);
  if constexpr (Tiles == 2) _tile_dpbusd(1, 3, 7);
}

template <int Tiles>
HLWQ_INLINE void store_dots(int32_t (*dots)[kTileRows * kTileRows]) {
  _tile_stored(0, dots[0], 64);
  if constexpr (Tiles == 2) _tile_stored(1, dots[1], 64);
}
