#include "loops.h"

#include <stdlib.h>
#include <string.h>

/* Raised with every change of the sources in this folder: a library of another version is not used. */
int earzip_native_version(void) { return 4; }

/* ---- Integers of classes ------------------------------------------------------------------------------ */

enum { LARGEST = 15 };

static inline int32_t magnitude_of(int32_t value)
{
    const int32_t magnitude = value < 0 ? -value : value;
    return magnitude < LARGEST ? magnitude : LARGEST;
}

/* The integers of a class that are still to come. */
typedef struct {
    int64_t n_zeros; /* before the next that is not 0 */
    const int64_t *run, *last_run;
    const int32_t *value;
} Stream;

static inline int32_t stream_take(Stream *stream)
{
    if (stream->n_zeros > 0) {
        stream->n_zeros--;
        return 0;
    }
    stream->run++;
    stream->n_zeros = stream->run < stream->last_run ? *stream->run : INT64_MAX;
    return *stream->value++;
}

/* Opens n streams, of counts[c] integers that are not 0: their values, each after so many zeros. */
static void streams_open(Stream *streams, int n, const int64_t *counts, const int64_t *runs,
                         const int32_t *values)
{
    for (int c = 0; c < n; c++) {
        streams[c] = (Stream){counts[c] ? *runs : INT64_MAX, runs, runs + counts[c], values};
        runs += counts[c];
        values += counts[c];
    }
}

static int64_t streams_left(const Stream *streams, int n)
{
    int64_t n_left = 0;
    for (int c = 0; c < n; c++)
        n_left += streams[c].last_run - streams[c].run;
    return n_left;
}

/* ---- Classes of context-1: formats/symbols/context.py ------------------------------------------------- */

enum { CONTEXT_CLASSES = 9 };

/* Writes the integers of all classes into symbols [n_channels][n_frames], which are 0.
 *
 * Returns how many are left over, or NO_MEMORY. */
int64_t context_fill(const uint8_t *class_of_sum, int64_t largest_sum, const int64_t *counts,
                     const int64_t *runs, const int32_t *values, int32_t *symbols, int64_t n_channels,
                     int64_t n_frames)
{
    const size_t width = (size_t)n_channels + 4; /* with two zeros on each side */
    int32_t *const memory = calloc(4 * width, sizeof(int32_t));
    if (!memory)
        return NO_MEMORY;
    /* Magnitudes of this frame and of the two before it. */
    int32_t *now = memory + width + 2, *last = now + width, *last_but_one = last + width;
    Stream streams[CONTEXT_CLASSES];
    streams_open(streams, CONTEXT_CLASSES, counts, runs, values);
    int is_silent = 1;
    for (int64_t frame = 0; frame < n_frames && n_channels; frame++) {
        if (is_silent) {
            /* All is of class 0 until one of it is not 0. */
            const int64_t n_skipped = streams[0].n_zeros / n_channels;
            if (n_skipped >= n_frames - frame)
                break;
            streams[0].n_zeros -= n_skipped * n_channels;
            frame += n_skipped;
        }
        memset(now - 2, 0, width * sizeof(int32_t));
        for (int parity = 0; parity < 2; parity++) {
            for (int64_t i = parity; i < n_channels; i += 2) {
                int64_t sum = (memory[i] >> 5) + 8 * last[i] + 4 * (last[i - 1] + last[i + 1]) +
                              2 * (last[i - 2] + last[i + 2]) + 4 * last_but_one[i] +
                              2 * (last_but_one[i - 1] + last_but_one[i + 1]);
                if (parity)
                    sum += 6 * (now[i - 1] + now[i + 1]);
                const int class = class_of_sum[sum < largest_sum ? sum : largest_sum];
                const int32_t value = stream_take(streams + class);
                symbols[i * n_frames + frame] = value;
                now[i] = magnitude_of(value);
            }
        }
        is_silent = 1;
        for (int64_t i = 0; i < n_channels; i++) {
            memory[i] += 16 * (2 * now[i] + now[i - 1] + now[i + 1]) - (memory[i] >> 4);
            is_silent &= !(now[i] || last[i] || memory[i] >> 4);
        }
        int32_t *const free_one = last_but_one;
        last_but_one = last;
        last = now;
        now = free_one;
    }
    free(memory);
    return streams_left(streams, CONTEXT_CLASSES);
}

/* ---- Classes of coefficients: formats/symbols/sparse.py ----------------------------------------------- */

enum { N_CLASSES = 12, MEMORY = 3 };

/* Magnitudes around the coefficients of a frame, LARGEST at most: of this frame, frames[0], as far as they
 * are known, and of the three before it. A frame is even bins of mid, then odd ones, then those of side;
 * each part has a 0 at both ends. Their weighted sums stay below 2^16. */
typedef struct {
    int64_t n_pairs; /* of an even bin and an odd one */
    uint16_t *memory, *frames[MEMORY + 1], *sums;
} Around;

static int around_new(Around *around, int64_t n_bins)
{
    const size_t n = (size_t)(n_bins + 1) / 2, n_frame = 4 * (n + 2);
    around->n_pairs = (int64_t)n;
    around->memory = calloc((MEMORY + 1) * n_frame + n, sizeof(uint16_t));
    for (size_t back = 0; back <= MEMORY; back++)
        around->frames[back] = around->memory + back * n_frame;
    around->sums = around->memory + (MEMORY + 1) * n_frame;
    return around->memory != NULL;
}

static void around_next_frame(Around *around)
{
    uint16_t *oldest = around->frames[MEMORY];
    memmove(around->frames + 1, around->frames, MEMORY * sizeof *around->frames);
    memset(oldest, 0, sizeof(uint16_t) * 4 * (size_t)(around->n_pairs + 2));
    around->frames[0] = oldest;
}

/* Where the bins of a parity are of a channel, `back` frames ago: 2 k + parity at k, from -1 to n_pairs. */
static inline uint16_t *around_part(const Around *around, int back, int channel, int parity)
{
    return around->frames[back] + (2 * channel + parity) * (around->n_pairs + 2) + 1;
}

static inline void around_add(Around *around, int channel, int64_t bin, int32_t value)
{
    around_part(around, 0, channel, bin & 1)[bin >> 1] = (uint16_t)magnitude_of(value);
}

/* Fills sums [n_pairs] with those of one parity of a channel. */
static inline void around_sum(const Around *around, int channel, int parity)
{
    const uint16_t *even = around_part(around, 1, channel, 0), *odd = around_part(around, 1, channel, 1);
    const uint16_t *second = around_part(around, 2, channel, parity);
    const uint16_t *third = around_part(around, 3, channel, parity);
    const uint16_t *now = around_part(around, 0, channel, 0);
    const uint16_t *mid_even = around_part(around, 0, 0, 0), *mid_odd = around_part(around, 0, 0, 1);
    uint16_t *restrict sums = around->sums;
    const int64_t n = around->n_pairs;
    if (parity)
        for (int64_t k = 0; k < n; k++)
            sums[k] = (uint16_t)(7 * odd[k] + even[k] + even[k + 1] + 2 * second[k] + third[k] +
                                 10 * (now[k] + now[k + 1]));
    else
        for (int64_t k = 0; k < n; k++)
            sums[k] = (uint16_t)(9 * even[k] + 4 * (odd[k - 1] + odd[k]) + even[k - 1] + even[k + 1] +
                                 2 * (second[k] + third[k]));
    if (channel && parity)
        for (int64_t k = 0; k < n; k++)
            sums[k] += (uint16_t)((mid_even[k] + 2 * mid_odd[k] + mid_even[k + 1]) >> 1);
    else if (channel)
        for (int64_t k = 0; k < n; k++)
            sums[k] += (uint16_t)((mid_odd[k - 1] + 2 * mid_even[k] + mid_odd[k]) >> 1);
}

/* What is coded of a frame, in this order, and how it is put into classes.
 *
 * bins: those that sound, even ones of mid, then odd ones, then those of side: of each such pass so many as
 * sizes [4] say. Sums at largest_sum and beyond are of one class. */
typedef struct {
    const int64_t *bins, *sizes, n_bins;
    const uint8_t *class_of_sum;
    const int64_t largest_sum;
} Passes;

/* Returns the integer at a place of [bins of mid, bins of side], of which the class is known. */
typedef int32_t Visit(void *with, int class, int64_t place);

/* Visits the next frame; returns whether any integer of it is not 0. Always part of its caller, so that
 * `visit` becomes a part of the loop. */
static ALWAYS_INLINE int passes_visit(const Passes *passes, Around *around, Visit *visit, void *with)
{
    int sounds = 0;
    around_next_frame(around);
    const int64_t *bin = passes->bins;
    for (int pass = 0; pass < 4; pass++) {
        const int channel = pass >> 1;
        if (passes->sizes[pass])
            around_sum(around, channel, pass & 1);
        for (const int64_t *end = bin + passes->sizes[pass]; bin < end; bin++) {
            const int64_t sum = around->sums[*bin >> 1];
            const int class = passes->class_of_sum[sum < passes->largest_sum ? sum : passes->largest_sum];
            const int32_t value = visit(with, class, channel * passes->n_bins + *bin);
            if (!value)
                continue;
            around_add(around, channel, *bin, value);
            sounds = 1;
        }
    }
    return sounds;
}

typedef struct {
    Stream streams[N_CLASSES];
    int32_t *symbols; /* of this frame, n_frames apart */
    int64_t n_frames;
} Filling;

static ALWAYS_INLINE int32_t fill_one(void *with, int class, int64_t place)
{
    Filling *filling = with;
    const int32_t value = stream_take(filling->streams + class);
    if (value)
        filling->symbols[place * filling->n_frames] = value;
    return value;
}

/* Writes the integers of all classes into symbols [bins of mid, bins of side][n_frames], which are 0.
 *
 * Of class c counts[c] are not 0: their values, each after so many zeros of the class, 0 or more.
 * Returns how many are left over, or NO_MEMORY. */
FOR_EACH_PROCESSOR
int64_t sparse_fill(const int64_t *bins, const int64_t *sizes, int64_t n_bins, const uint8_t *class_of_sum,
                    int64_t largest_sum, const int64_t *counts, const int64_t *runs, const int32_t *values,
                    int32_t *symbols, int64_t n_frames)
{
    const Passes passes = {bins, sizes, n_bins, class_of_sum, largest_sum};
    const int64_t n_sounding = sizes[0] + sizes[1] + sizes[2] + sizes[3];
    Filling filling = {.n_frames = n_frames};
    Around around;
    if (!around_new(&around, n_bins))
        return NO_MEMORY;
    streams_open(filling.streams, N_CLASSES, counts, runs, values);
    int64_t n_silent = MEMORY;
    for (int64_t frame = 0; frame < n_frames; frame++) {
        if (n_silent >= MEMORY && n_sounding) {
            /* All is of class 0 until one of it is not 0. */
            const int64_t n_skipped = filling.streams[0].n_zeros / n_sounding;
            if (n_skipped >= n_frames - frame)
                break;
            filling.streams[0].n_zeros -= n_skipped * n_sounding;
            frame += n_skipped;
        }
        filling.symbols = symbols + frame;
        n_silent = passes_visit(&passes, &around, fill_one, &filling) ? 0 : n_silent + 1;
    }
    free(around.memory);
    return streams_left(filling.streams, N_CLASSES);
}

typedef struct {
    const int32_t *symbols; /* of this frame, n_frames apart */
    int64_t n_frames, n, n_zeros[N_CLASSES];
    uint8_t *classes;
    int64_t *runs;
    int32_t *values;
} Classing;

static ALWAYS_INLINE int32_t class_one(void *with, int class, int64_t place)
{
    Classing *found = with;
    const int32_t value = found->symbols[place * found->n_frames];
    if (!value) {
        found->n_zeros[class]++;
        return 0;
    }
    found->classes[found->n] = (uint8_t)class;
    found->runs[found->n] = found->n_zeros[class];
    found->values[found->n++] = value;
    found->n_zeros[class] = 0;
    return value;
}

/* Returns how many of symbols [bins of mid, bins of side][n_frames] are not 0, or NO_MEMORY.
 *
 * Of each, in the order of coding: its class, how many zeros of the class came before it, its value. */
FOR_EACH_PROCESSOR
int64_t sparse_classes(const int64_t *bins, const int64_t *sizes, int64_t n_bins,
                       const uint8_t *class_of_sum, int64_t largest_sum, const int32_t *symbols,
                       int64_t n_frames, uint8_t *classes, int64_t *runs, int32_t *values)
{
    const Passes passes = {bins, sizes, n_bins, class_of_sum, largest_sum};
    Classing found = {.n_frames = n_frames, .classes = classes, .runs = runs, .values = values};
    Around around;
    if (!around_new(&around, n_bins))
        return NO_MEMORY;
    for (int64_t frame = 0; frame < n_frames; frame++) {
        found.symbols = symbols + frame;
        passes_visit(&passes, &around, class_one, &found);
    }
    free(around.memory);
    return found.n;
}
