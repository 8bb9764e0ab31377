# cmake -DSOURCE=dir -DHEADER=file -P write_commit.cmake: the commit this build is of, for reports.
# The header is only touched when the commit changed.
cmake_minimum_required(VERSION 3.25)
set(commit "")
execute_process(COMMAND git -C ${SOURCE} describe --always --abbrev=12 --dirty --exclude=*
                OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(NOT failed)
  set(commit ${described})
endif()
file(CONFIGURE OUTPUT ${HEADER} CONTENT "#pragma once\n\n#define HLWQ_COMMIT \"@commit@\"\n" @ONLY)
