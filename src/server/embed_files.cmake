# Writes OUTPUT, a C++ source with the bytes of FILES (web_assets.h). Script mode: cmake -P.
set(arrays "")
set(table "")
set(number 0)
foreach(file ${FILES})
  get_filename_component(name ${file} NAME)
  file(READ ${file} hex HEX)
  string(LENGTH "${hex}" digits)
  math(EXPR bytes "${digits} / 2")
  string(REGEX REPLACE "(..)" "\\\\x\\1" escaped "${hex}")
  # Short literals, joined by the compiler.
  string(REGEX REPLACE "((\\\\x..)(\\\\x..)?(\\\\x..)?(\\\\x..)?(\\\\x..)?(\\\\x..)?(\\\\x..)?(\\\\x..)?)" "\"\\1\"\n"
         lines "${escaped}")
  string(APPEND arrays "constexpr char kFile${number}[] =\n${lines};\n")
  string(APPEND table "    {\"${name}\", {kFile${number}, ${bytes}}},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE ${OUTPUT} "#include \"server/web_assets.h\"

#include <array>

namespace hlwq::server {
namespace {

${arrays}
constexpr std::array<WebAsset, ${number}> kAssets = {{
${table}}};

}  // namespace

std::span<const WebAsset> web_assets() { return kAssets; }

}  // namespace hlwq::server
")
