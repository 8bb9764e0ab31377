# Writes OUTPUT, a C++ source with the bytes of FILES: HEADER declares NAMESPACE::TYPE, of a name and
# bytes, and FUNCTION, which gives a span of them. Script mode: cmake -P.
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
file(WRITE ${OUTPUT} "#include \"${HEADER}\"

#include <array>

namespace ${NAMESPACE} {
namespace {

${arrays}
constexpr std::array<${TYPE}, ${number}> kFiles = {{
${table}}};

}  // namespace

std::span<const ${TYPE}> ${FUNCTION}() { return kFiles; }

}  // namespace ${NAMESPACE}
")
