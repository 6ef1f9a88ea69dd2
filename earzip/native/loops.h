/* Loops that numpy and torch take many passes for. Called by earzip/native, without Python's headers.
 *
 * Whatever decides an archive's bytes gives what the Python beside it gives, to the bit: so it is compiled
 * with -ffp-contract=off, for processors without fused multiplication (GCC 12 fuses complex products all the
 * same where there is AVX-512), and each sum is rounded in the order in which Python rounds it.
 */
#ifndef EARZIP_LOOPS_H
#define EARZIP_LOOPS_H

#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

#ifdef __GNUC__
#define ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE inline
#endif

enum { MOST_BINS = 4096 };   /* of a transform */
enum { NO_MEMORY = -4 };     /* what functions return, of which others say in Python what they mean */

#endif
