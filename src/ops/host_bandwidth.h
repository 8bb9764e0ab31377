#pragma once

#include "base/result.h"
#include "base/thread_pool.h"

namespace hlwq {

// Bytes a second at which the threads of `pool` read host memory that no cache holds, with the
// widest loads of this processor: the best of several rounds over up to 4 GiB, less where little is
// free. Takes about a second.
// Errors: kOutOfMemory.
[[nodiscard]] Result<double> host_read_bandwidth(ThreadPool& pool);

}  // namespace hlwq
