#include "chart/png.h"

#include <stb/stb_image_write.h>

#include "chart/raster.h"

namespace hlwq::chart {

Result<std::string> to_png(const Picture& picture) {
  const Pixels pixels = rasterize(picture, kPngScale);
  std::string file;
  const auto append = [](void* context, void* bytes, int count) {
    static_cast<std::string*>(context)->append(static_cast<const char*>(bytes),
                                               static_cast<size_t>(count));
  };
  if (stbi_write_png_to_func(append, &file, pixels.width, pixels.height, 3, pixels.rgb.data(),
                             3 * pixels.width) == 0)
    return fail(ErrorCode::kOutOfMemory, "no memory to pack a PNG file");
  return file;
}

}  // namespace hlwq::chart
