#pragma once
// Results (include/hlwq/result.h) with the macros that pass errors on. Broken promises of our own
// are thrown instead (check.h).

#include <utility>

#include "hlwq/result.h"

#define HLWQ_CONCAT_INNER(a, b) a##b
#define HLWQ_CONCAT(a, b) HLWQ_CONCAT_INNER(a, b)

// HLWQ_TRY(call());          returns the error of a Result<void> to the caller
// HLWQ_TRY_ASSIGN(auto x, call());  or binds the value of a Result<T>
#define HLWQ_TRY(expr)                                                        \
  do {                                                                        \
    if (auto hlwq_status = (expr); !hlwq_status) [[unlikely]]                 \
      return ::tl::unexpected<::hlwq::Error>(std::move(hlwq_status).error()); \
  } while (false)

#define HLWQ_TRY_ASSIGN(decl, expr) \
  HLWQ_TRY_ASSIGN_IMPL(HLWQ_CONCAT(hlwq_result_, __LINE__), decl, expr)
#define HLWQ_TRY_ASSIGN_IMPL(tmp, decl, expr)                       \
  auto tmp = (expr);                                                \
  if (!tmp) [[unlikely]]                                            \
    return ::tl::unexpected<::hlwq::Error>(std::move(tmp).error()); \
  decl = std::move(*tmp)
