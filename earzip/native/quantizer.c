#include "loops.h"

#include <stdlib.h>
#include <string.h>

/* ---- Levels in the fewest bits: earzip/coding/rate_distortion.py --------------------------------------- */

enum { N_CHANGES = 10 };

static inline double worth_of(double change, const double *worth)
{
    const double magnitude = change < 0 ? -change : change;
    return worth[magnitude < N_CHANGES ? (int)magnitude : N_CHANGES - 1];
}

/* The best path through each row of scaled [n][n_frames] by the Viterbi algorithm: by how much it is above
 * `nearest`, the nearest whole numbers: -1, 0 or 1. Where several are best, it is the lowest, from the end.
 *
 * worth [10]: that of a change by so much, or more. Returns 0, or NO_MEMORY. */
int64_t cheapest_paths(const float *scaled, const float *nearest, int64_t n, int64_t n_frames,
                       const double *worth, int64_t begins_at_0, int8_t *moves)
{
    int8_t(*from)[3] = malloc(3 * (size_t)(n_frames + 1)); /* the best one before each */
    if (!from)
        return NO_MEMORY;
    for (int64_t row = 0; row < n && n_frames; row++) {
        const float *x = scaled + row * n_frames, *whole = nearest + row * n_frames;
        double cost[3] = {0};
        for (int64_t f = 0; f < n_frames; f++) {
            double next[3];
            for (int to = 0; to < 3; to++) {
                const double level = (double)whole[f] + (to - 1), error = (double)x[f] - level;
                double least = 0;
                if (f > 0) {
                    for (int i = 0; i < 3; i++) {
                        const double before = (double)whole[f - 1] + (i - 1);
                        const double through = cost[i] + worth_of(level - before, worth);
                        if (!i || through < least) {
                            least = through;
                            from[f][to] = (int8_t)i;
                        }
                    }
                } else if (begins_at_0) {
                    least = worth_of(level, worth);
                }
                next[to] = least + error * error;
            }
            memcpy(cost, next, sizeof cost);
        }
        int best = 0;
        for (int i = 1; i < 3; i++)
            best = cost[i] < cost[best] ? i : best;
        for (int64_t f = n_frames - 1; f >= 0; f--) {
            moves[row * n_frames + f] = (int8_t)(best - 1);
            best = f > 0 ? from[f][best] : 0;
        }
    }
    free(from);
    return 0;
}
