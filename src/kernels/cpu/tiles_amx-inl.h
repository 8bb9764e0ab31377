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

// Tiles are loaded by assembly that does not name the memory it reads: stores stay before it.
HLWQ_INLINE void before_tile_loads() { __asm__ volatile("" ::: "memory"); }

// dots[r][t] = sum over k of weights[r][k] * tokens[t][k], k = 0 .. 127: unsigned by signed bytes.
// weights: halves of the sum one after the other, each [16 r][64]; tokens: the same halves, each
// [16 words of k][16 t][4]. Neighbouring calls use the two sets of tiles in turn.
template <int Set>
HLWQ_INLINE void multiply_tiles(const uint8_t* weights, const int8_t* tokens, int32_t* dots) {
  if constexpr (Set == 0) {
    _tile_zero(0);
    _tile_loadd(2, weights, 64);
    _tile_loadd(3, tokens, 64);
    _tile_dpbusd(0, 2, 3);
    _tile_loadd(4, weights + kTileBytes, 64);
    _tile_loadd(5, tokens + kTileBytes, 64);
    _tile_dpbusd(0, 4, 5);
    _tile_stored(0, dots, 64);
  } else {
    _tile_zero(1);
    _tile_loadd(6, weights, 64);
    _tile_loadd(7, tokens, 64);
    _tile_dpbusd(1, 6, 7);
    _tile_loadd(4, weights + kTileBytes, 64);
    _tile_loadd(5, tokens + kTileBytes, 64);
    _tile_dpbusd(1, 4, 5);
    _tile_stored(1, dots, 64);
  }
}
