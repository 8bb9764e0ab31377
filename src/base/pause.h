#pragma once

namespace hlwq {

// In a loop that watches memory: leaves the core to its other hardware thread for a moment.
inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace hlwq
