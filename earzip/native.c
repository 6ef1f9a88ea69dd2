/* Loops that numpy and torch take many passes for. Called by earzip/native.py, without Python's headers.
 *
 * Whatever decides an archive's bytes gives what the Python beside it gives, to the bit: so it is compiled
 * with -ffp-contract=off, and each sum is rounded in the order in which Python rounds it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

/* Raised with every change of what follows: a library of another version is not used. */
int earzip_native_version(void) { return 1; }
