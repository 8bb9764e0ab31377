#pragma once
// HLWQ_HD marks a function that compiles for the host and, under nvcc, for the device too: the one
// source of the device arithmetic, which the host tests.

#if defined(__CUDACC__)
#define HLWQ_HD __host__ __device__
#else
#define HLWQ_HD
#endif
