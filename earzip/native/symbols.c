#include "loops.h"

#include <stdlib.h>
#include <string.h>

/* Raised with every change of the sources in this folder: a library of another version is not used. */
int earzip_native_version(void) { return 3; }

/* ---- rANS: formats/symbols/rans.py -------------------------------------------------------------------- */

enum { TABLE_BITS = 12, WORD_BITS = 16, FULL_BITS = 20 };
enum { NO_SUCH_TABLE = -1, TOO_FEW_WORDS = -2 };

/* Takes n symbols, the first by lane 0, whose tables have these numbers; from words[first_word] on.
 *
 * slots [n_tables][4096]: the symbol that each stands for; frequencies and starts [n_tables][n_symbols].
 * States may be any: they only choose among slots. Returns which word is next, or what is wrong. */
int64_t rans_take(const int64_t *numbers, int64_t n, const uint16_t *slots, const uint64_t *frequencies,
                  const uint64_t *starts, int64_t n_tables, int64_t n_symbols, uint64_t *states,
                  int64_t n_lanes, const uint64_t *words, int64_t first_word, int64_t n_words,
                  int64_t *symbols)
{
    int64_t lane = 0, next_word = first_word;
    if (n_lanes < 1)
        return NO_SUCH_TABLE;
    for (int64_t i = 0; i < n; i++) {
        if (numbers[i] < 0 || numbers[i] >= n_tables)
            return NO_SUCH_TABLE;
        const uint64_t slot = states[lane] & ((1 << TABLE_BITS) - 1);
        const int64_t symbol = slots[(numbers[i] << TABLE_BITS) + (int64_t)slot];
        const int64_t at = numbers[i] * n_symbols + symbol;
        uint64_t state = frequencies[at] * (states[lane] >> TABLE_BITS) + slot - starts[at];
        if (state < 1 << WORD_BITS) {
            if (next_word >= n_words)
                return TOO_FEW_WORDS;
            state = state << WORD_BITS | words[next_word++];
        }
        states[lane] = state;
        symbols[i] = symbol;
        lane = lane + 1 == n_lanes ? 0 : lane + 1;
    }
    return next_word;
}

/* Codes symbols that a reader takes in parts of these lengths, each of which begins with lane 0.
 *
 * words: room for one a symbol, filled from its end. Returns how many there are, or what is wrong. */
int64_t rans_encode(const int64_t *symbols, const int64_t *numbers, const int64_t *lengths, int64_t n_parts,
                    const uint64_t *frequencies, const uint64_t *starts, int64_t n_tables,
                    int64_t n_symbols, uint64_t *states, int64_t n_lanes, uint64_t *words)
{
    int64_t n = 0, n_written = 0;
    for (int64_t part = 0; part < n_parts; part++)
        n += lengths[part];
    const int64_t room = n;
    /* A reader takes what was written last first. */
    for (int64_t part = n_parts - 1; part >= 0; part--) {
        for (int64_t i = lengths[part] - 1; i >= 0; i--) {
            n--;
            if (numbers[n] < 0 || numbers[n] >= n_tables || symbols[n] < 0 || symbols[n] >= n_symbols)
                return NO_SUCH_TABLE;
            const int64_t at = numbers[n] * n_symbols + symbols[n];
            const uint32_t frequency = (uint32_t)frequencies[at];
            if (!frequency || n_lanes < 1)
                return NO_SUCH_TABLE;
            uint64_t *state = states + i % n_lanes;
            if (*state >= (uint64_t)frequency << FULL_BITS) {
                words[room - ++n_written] = *state & ((1 << WORD_BITS) - 1);
                *state >>= WORD_BITS;
            }
            const uint32_t whole = (uint32_t)*state; /* below 2^32, as a frequency is 4096 at most */
            *state = ((uint64_t)(whole / frequency) << TABLE_BITS) + whole % frequency + starts[at];
        }
    }
    return n_written;
}

/* ---- Residuals of levels: formats/symbols/levels.py --------------------------------------------------- */

enum { REACH = 8, LARGE = 4, TOO_FEW_EXCESSES = -3 };

/* A band of levels, in the frames that it is told in. */
typedef struct {
    int64_t first_table, channel, has_below; /* whether the channel below gives class and lean */
    int64_t first_frame, n_frames;           /* where these frames stand in `frames`, and how many */
} Row;

/* Writes the residuals of rows into residuals [channels][n_frames], as `rans_take` takes their symbols.
 *
 * class_of [9]: by the residual below, within 4. next: word and excess; both go on. A residual of 8 or -8
 * goes on by the next excess. Returns 0, or what is wrong. */
int64_t levels_take(const uint16_t *slots, const uint64_t *frequencies, const uint64_t *starts,
                    int64_t n_tables, int64_t n_symbols, uint64_t *states, int64_t n_lanes,
                    const uint64_t *words, int64_t n_words, const int64_t *excesses, int64_t n_excesses,
                    int64_t *next, const int64_t *class_of, const Row *rows, int64_t n_rows,
                    const int64_t *frames, int64_t *residuals, int64_t n_frames)
{
    int64_t *numbers = malloc(2 * sizeof(int64_t) * (size_t)(n_frames + 1)), *symbols = numbers + n_frames;
    int64_t wrong = numbers ? 0 : NO_MEMORY;
    for (const Row *row = rows; row < rows + n_rows && !wrong; row++) {
        const int64_t *frame = frames + row->first_frame, n = row->n_frames;
        int64_t *own = residuals + row->channel * n_frames;
        for (int64_t i = 0; i < n; i++) {
            const int64_t below = row->has_below ? own[frame[i] - n_frames] : 0;
            const int64_t within = below > LARGE ? LARGE : below < -LARGE ? -LARGE : below;
            numbers[i] = row->first_table + class_of[within + LARGE];
            own[frame[i]] = within == LARGE || within == -LARGE ? below : 0; /* what it leans on */
        }
        const int64_t taken = rans_take(numbers, n, slots, frequencies, starts, n_tables, n_symbols, states,
                                        n_lanes, words, next[0], n_words, symbols);
        if (taken < 0)
            wrong = taken;
        else
            next[0] = taken;
        for (int64_t i = 0; i < n && !wrong; i++) {
            int64_t value = symbols[i] - REACH;
            if (value == REACH || value == -REACH) {
                if (next[1] >= n_excesses) {
                    wrong = TOO_FEW_EXCESSES;
                    break;
                }
                const int64_t excess = excesses[next[1]++];
                value += value < 0 ? -excess : excess;
            }
            own[frame[i]] += value;
        }
    }
    free(numbers);
    return wrong;
}

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

/* Writes the integers of all classes into symbols [bins of mid, bins of side][n_frames], which are 0.
 *
 * bins: those that sound, even ones of mid, then odd ones, then those of side: of each such pass over a
 * frame so many as sizes [4] say. Sums at largest_sum and beyond are of one class.
 * Of class c counts[c] are not 0: their values, each after so many zeros of the class, 0 or more.
 * Returns how many are left over, or NO_MEMORY. */
FOR_EACH_PROCESSOR
int64_t sparse_fill(const int64_t *bins, const int64_t *sizes, int64_t n_bins, const uint8_t *class_of_sum,
                    int64_t largest_sum, const int64_t *counts, const int64_t *runs, const int32_t *values,
                    int32_t *symbols, int64_t n_frames)
{
    const int64_t n_sounding = sizes[0] + sizes[1] + sizes[2] + sizes[3];
    Stream streams[N_CLASSES];
    Around around;
    if (!around_new(&around, n_bins))
        return NO_MEMORY;
    streams_open(streams, N_CLASSES, counts, runs, values);
    int64_t n_silent = MEMORY;
    for (int64_t frame = 0; frame < n_frames; frame++) {
        if (n_silent >= MEMORY && n_sounding) {
            /* All is of class 0 until one of it is not 0. */
            int64_t n_skipped = streams[0].n_zeros / n_sounding;
            if (n_skipped >= n_frames - frame)
                break;
            streams[0].n_zeros -= n_skipped * n_sounding;
            frame += n_skipped;
        }
        around_next_frame(&around);
        n_silent++;
        const int64_t *bin = bins;
        for (int pass = 0; pass < 4; pass++) {
            const int channel = pass >> 1;
            if (sizes[pass])
                around_sum(&around, channel, pass & 1);
            for (const int64_t *end = bin + sizes[pass]; bin < end; bin++) {
                const int64_t sum = around.sums[*bin >> 1];
                const int class = class_of_sum[sum < largest_sum ? sum : largest_sum];
                const int32_t value = stream_take(streams + class);
                if (!value)
                    continue;
                symbols[(channel * n_bins + *bin) * n_frames + frame] = value;
                around_add(&around, channel, *bin, value);
                n_silent = 0;
            }
        }
    }
    free(around.memory);
    return streams_left(streams, N_CLASSES);
}

/* Returns how many of symbols [bins of mid, bins of side][n_frames] are not 0, or NO_MEMORY.
 *
 * Of each, in the order of coding: its class, how many zeros of the class came before it, its value. */
FOR_EACH_PROCESSOR
int64_t sparse_classes(const int64_t *bins, const int64_t *sizes, int64_t n_bins,
                       const uint8_t *class_of_sum, int64_t largest_sum, const int32_t *symbols,
                       int64_t n_frames, uint8_t *classes, int64_t *runs, int32_t *values)
{
    int64_t n_zeros[N_CLASSES] = {0}, n = 0;
    Around around;
    if (!around_new(&around, n_bins))
        return NO_MEMORY;
    for (int64_t frame = 0; frame < n_frames; frame++) {
        around_next_frame(&around);
        const int64_t *bin = bins;
        for (int pass = 0; pass < 4; pass++) {
            const int channel = pass >> 1;
            if (sizes[pass])
                around_sum(&around, channel, pass & 1);
            for (const int64_t *end = bin + sizes[pass]; bin < end; bin++) {
                const int32_t value = symbols[(channel * n_bins + *bin) * n_frames + frame];
                const int64_t sum = around.sums[*bin >> 1];
                const int class = class_of_sum[sum < largest_sum ? sum : largest_sum];
                if (!value) {
                    n_zeros[class]++;
                    continue;
                }
                around_add(&around, channel, *bin, value);
                classes[n] = (uint8_t)class;
                runs[n] = n_zeros[class];
                values[n++] = value;
                n_zeros[class] = 0;
            }
        }
    }
    free(around.memory);
    return n;
}
