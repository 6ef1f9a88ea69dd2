/* Loops that numpy and torch take many passes for. Called by earzip/native.py, without Python's headers.
 *
 * Whatever decides an archive's bytes gives what the Python beside it gives, to the bit: so it is compiled
 * with -ffp-contract=off, for processors without fused multiplication (GCC 12 fuses complex products all the
 * same where there is AVX-512), and each sum is rounded in the order in which Python rounds it.
 */
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

/* Raised with every change of what follows: a library of another version is not used. */
int earzip_native_version(void) { return 2; }

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

enum { REACH = 8, LARGE = 4, TOO_FEW_EXCESSES = -3, NO_MEMORY = -4 };

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

/* ---- The modified discrete cosine transform, beside an FFT of N / 2 complex numbers ------------------- */

enum { MOST_BINS = 4096 };

/* Frames of 2 N samples of x [rows][t], zeros beyond its ends, windowed, folded to N and twiddled:
 * z [rows][n_frames][N / 2] complex. Frame j begins at sample starts[j] and has the window [2 N] of the
 * number kinds[j]. */
FOR_EACH_PROCESSOR
void mdct_fold(const float *x, int64_t rows, int64_t t, int64_t n, const int64_t *starts, const uint8_t *kinds,
               int64_t n_frames, const float *windows, const float *twiddle, float *z)
{
    const int64_t half = n / 2;
    float folded[MOST_BINS], padded[2 * MOST_BINS];
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t j = 0; j < n_frames; j++) {
            const float *window = windows + 2 * n * kinds[j];
            const float *a = x + row * t + starts[j];
            if (starts[j] < 0 || starts[j] + 2 * n > t) {
                for (int64_t i = 0; i < 2 * n; i++) {
                    const int64_t at = starts[j] + i;
                    padded[i] = at >= 0 && at < t ? x[row * t + at] : 0;
                }
                a = padded;
            }
            for (int64_t i = 0; i < half; i++) {
                const int64_t back = half - 1 - i;
                folded[i] = -(a[n + back] * window[n + back]) - a[n + half + i] * window[n + half + i];
                folded[half + i] = a[i] * window[i] - a[half + back] * window[half + back];
            }
            float *out = z + (row * n_frames + j) * n;
            for (int64_t k = 0; k < half; k++) {
                const float re = folded[2 * k], im = folded[n - 1 - 2 * k];
                const float c = twiddle[2 * k], s = twiddle[2 * k + 1];
                out[2 * k] = re * c - im * s;
                out[2 * k + 1] = re * s + im * c;
            }
        }
    }
}

/* What `mdct_fold` does to samples, to coefficients [frames][given], zeros from `given` to N: for inverses. */
FOR_EACH_PROCESSOR
void mdct_twiddle(const float *x, int64_t n_frames, int64_t given, int64_t n, const float *twiddle, float *z)
{
    float padded[MOST_BINS];
    memset(padded + given, 0, sizeof(float) * (size_t)(n - given));
    for (int64_t j = 0; j < n_frames; j++) {
        memcpy(padded, x + j * given, sizeof(float) * (size_t)given);
        float *out = z + j * n;
        for (int64_t k = 0; k < n / 2; k++) {
            const float re = padded[2 * k], im = padded[n - 1 - 2 * k];
            const float c = twiddle[2 * k], s = twiddle[2 * k + 1];
            out[2 * k] = re * c - im * s;
            out[2 * k + 1] = re * s + im * c;
        }
    }
}

static inline void untwiddle(const float *z, int64_t n, const float *twiddle, float scale, float *out)
{
    for (int64_t k = 0; k < n / 2; k++) {
        const float re = z[2 * k], im = z[2 * k + 1], c = twiddle[2 * k], s = twiddle[2 * k + 1];
        out[2 * k] = (re * c - im * s) * scale;
        out[n - 1 - 2 * k] = -((re * s + im * c) * scale);
    }
}

/* The N real numbers of a DCT-IV for each of the FFT's results z [frames][N / 2]. */
FOR_EACH_PROCESSOR
void mdct_untwiddle(const float *z, int64_t n_frames, int64_t n, const float *twiddle, float scale, float *out)
{
    for (int64_t j = 0; j < n_frames; j++)
        untwiddle(z + j * n, n, twiddle, scale, out + j * n);
}

/* Adds each frame of the FFT's results z [rows][n_frames][N / 2], unfolded and windowed, to out [rows][t]
 * from sample starts[j] on, what is beyond its ends left out. */
FOR_EACH_PROCESSOR
void mdct_add(const float *z, int64_t rows, int64_t n_frames, int64_t n, const float *twiddle, float scale,
              const int64_t *starts, const uint8_t *kinds, const float *windows, int64_t t, float *out)
{
    const int64_t half = n / 2;
    float u[MOST_BINS], frame[2 * MOST_BINS];
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t j = 0; j < n_frames; j++) {
            const float *w = windows + 2 * n * kinds[j];
            untwiddle(z + (row * n_frames + j) * n, n, twiddle, scale, u);
            for (int64_t i = 0; i < half; i++) {
                frame[i] = u[half + i] * w[i];
                frame[half + i] = -u[n - 1 - i] * w[half + i];
                frame[n + i] = -u[half - 1 - i] * w[n + i];
                frame[n + half + i] = -u[i] * w[n + half + i];
            }
            const int64_t first = starts[j] < 0 ? -starts[j] : 0;
            const int64_t end = starts[j] + 2 * n > t ? t - starts[j] : 2 * n;
            float *to = out + row * t + starts[j];
            for (int64_t i = first; i < end; i++)
                to[i] += frame[i];
        }
    }
}

/* ---- The short Fourier transform of levels ------------------------------------------------------------ */

/* Frames [rows][n + 1][2 hop] of x [rows][n hop], windowed, with zeros beyond its ends: frame i begins hop
 * samples before block i. */
FOR_EACH_PROCESSOR
void stft_window(const float *x, int64_t rows, int64_t n, int64_t hop, const float *window, float *frames)
{
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t i = 0; i <= n; i++) {
            float *out = frames + (row * (n + 1) + i) * 2 * hop;
            const float *from = x + (row * n + i - 1) * hop;
            const int64_t first = i > 0 ? 0 : hop, end = i < n ? 2 * hop : hop;
            memset(out, 0, sizeof(float) * (size_t)first);
            for (int64_t k = first; k < end; k++)
                out[k] = from[k] * window[k];
            memset(out + end, 0, sizeof(float) * (size_t)(2 * hop - end));
        }
    }
}

/* The sound out [rows][n hop] of windowed frames [rows][n + 1][2 hop]. */
FOR_EACH_PROCESSOR
void stft_overlap(const float *frames, int64_t rows, int64_t n, int64_t hop, const float *window, float *out)
{
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t i = 0; i < n; i++) {
            const float *now = frames + (row * (n + 1) + i) * 2 * hop, *next = now + 2 * hop;
            float *to = out + (row * n + i) * hop;
            for (int64_t k = 0; k < hop; k++)
                to[k] = next[k] * window[k] + now[hop + k] * window[hop + k];
        }
    }
}

/* The powers [rows][n][bins] of all but the last of spectra [rows][n + 1][bins], complex. */
FOR_EACH_PROCESSOR
void stft_powers(const float *spectra, int64_t rows, int64_t n, int64_t bins, float *out)
{
    for (int64_t row = 0; row < rows; row++) {
        const float *from = spectra + row * (n + 1) * bins * 2;
        for (int64_t k = 0; k < n * bins; k++)
            out[row * n * bins + k] = from[2 * k] * from[2 * k] + from[2 * k + 1] * from[2 * k + 1];
    }
}

/* Multiplies the spectra [rows][n + 1][bins] but the last, by band: spectrum i by gains [rows][n / each][bands]
 * number i / each. Band b has the bins from edges[b] to edges[b + 1]; others stay. */
FOR_EACH_PROCESSOR
void stft_scale(float *spectra, int64_t rows, int64_t n, int64_t bins, const float *gains, int64_t each,
                const int64_t *edges, int64_t bands)
{
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t i = 0; i < n; i++) {
            float *to = spectra + (row * (n + 1) + i) * bins * 2;
            const float *of_bands = gains + (row * (n / each) + i / each) * bands;
            for (int64_t b = 0; b < bands; b++) {
                const float gain = of_bands[b] - 1.0f + 1.0f; /* as the product of matrices rounds it */
                for (int64_t k = 2 * edges[b]; k < 2 * edges[b + 1]; k++)
                    to[k] *= gain;
            }
        }
    }
}

/* The mean powers [rows][n / each][bands] of spectra [rows][n + 1][bins], complex, a bin, in bands as
 * `stft_scale` has them. */
FOR_EACH_PROCESSOR
void stft_band_means(const float *spectra, int64_t rows, int64_t n, int64_t bins, int64_t each,
                     const int64_t *edges, int64_t bands, float *out)
{
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t part = 0; part < n / each; part++) {
            const float *from = spectra + (row * (n + 1) + part * each) * bins * 2;
            float sums[2 * MOST_BINS]; /* of real and imaginary parts apart, bin by bin */
            memset(sums, 0, sizeof(float) * (size_t)(2 * bins));
            for (int64_t i = 0; i < each; i++)
                for (int64_t k = 0; k < 2 * bins; k++)
                    sums[k] += from[2 * i * bins + k] * from[2 * i * bins + k];
            for (int64_t b = 0; b < bands; b++) {
                float sum = 0;
                for (int64_t k = 2 * edges[b]; k < 2 * edges[b + 1]; k++)
                    sum += sums[k];
                out[(row * (n / each) + part) * bands + b] = sum / (float)(each * (edges[b + 1] - edges[b]));
            }
        }
    }
}

/* ---- The decoder of levels, beside its layers ---------------------------------------------------------- */

/* e to the x, within 2e-7 of it, for x from -87 to 88. */
static inline float exp_of(float x)
{
    const float y = x * 1.44269504f;
    const int32_t whole = (int32_t)(y + (y < 0 ? -0.5f : 0.5f));
    const float f = (y - (float)whole) * 0.693147181f;
    const float p = 1 + f * (1 + f * (0.5f + f * (0.166666667f + f * (0.0416666667f
                  + f * (0.00833333333f + f * 0.00138888889f)))));
    union { int32_t bits; float value; } power = { (whole + 127) << 23 };
    return p * power.value;
}

/* The natural logarithm of x, within 2e-7 of it, for positive normal numbers. */
static inline float log_of(float x)
{
    union { float value; int32_t bits; } u = { x };
    const int32_t shifted = u.bits - 0x3f3504f3; /* so that what is left is from √½ to √2 */
    const float exponent = (float)(shifted >> 23);
    u.bits = (shifted & 0x7fffff) + 0x3f3504f3;
    const float t = (u.value - 1) / (u.value + 1), s = t * t;
    return exponent * 0.693147181f
         + t * (2 + s * (0.666666667f + s * (0.4f + s * (0.285714286f + s * 0.222222222f))));
}

/* What the decoder sees of coefficients fine [2][t][bins]: features [t / pair][2][pair][2][bins], the loud
 * ones, then all of them. */
FOR_EACH_PROCESSOR
void levels_features(const float *fine, int64_t t, int64_t bins, int64_t pair, float *features)
{
    const int64_t half = pair * 2 * bins;
    for (int64_t i = 0; i < t; i++) {
        for (int64_t channel = 0; channel < 2; channel++) {
            const float *x = fine + (channel * t + i) * bins;
            float *loud = features + i / pair * 2 * half + (i % pair * 2 + channel) * bins, *all = loud + half;
            for (int64_t k = 0; k < bins; k++) {
                const float size = x[k] < 0 ? -x[k] : x[k];
                const float cut = x[k] < -6 ? -6 : x[k] > 6 ? 6 : x[k];
                loud[k] = 0.5f * cut;
                all[k] = x[k] * exp_of(-0.6f * log_of(size + 0.03f));
            }
        }
    }
}

static inline void band_energies(const float *x, const int64_t *edges, int64_t bands, float *out)
{
    for (int64_t b = 0; b < bands; b++) {
        float sums[8] = { 0 }, rest = 0; /* side by side: one alone would wait for each addition */
        int64_t k = edges[b];
        for (; k + 8 <= edges[b + 1]; k += 8)
            for (int64_t i = 0; i < 8; i++)
                sums[i] += x[k + i] * x[k + i];
        for (; k < edges[b + 1]; k++)
            rest += x[k] * x[k];
        for (int64_t i = 0; i < 8; i++)
            rest += sums[i];
        out[b] = rest;
    }
}

/* Opens and closes coefficients fine [2][t][bins], of which one is rms [2][bins], by gates [t][2][bins]
 * in nepers within `lowest` to `highest`: opened [2][t][bins]. None is closed beyond sure times its share
 * above doubt [2][bins]. Energies by band before and after, [2][t][bands]. */
FOR_EACH_PROCESSOR
void levels_open(const float *fine, const float *gates, const float *rms, const float *doubt, int64_t t,
                 int64_t bins, float lowest, float highest, float sure, const int64_t *edges, int64_t bands,
                 float *opened, float *before, float *after)
{
    float scaled[MOST_BINS];
    for (int64_t channel = 0; channel < 2; channel++) {
        for (int64_t i = 0; i < t; i++) {
            const int64_t row = channel * t + i;
            const float *x = fine + row * bins, *gate = gates + (2 * i + channel) * bins;
            const float *unit = rms + channel * bins, *doubtful = doubt + channel * bins;
            float *out = opened + row * bins;
            for (int64_t k = 0; k < bins; k++) {
                const float g = gate[k] < lowest ? lowest : gate[k] > highest ? highest : gate[k];
                float size = x[k] < 0 ? -x[k] : x[k];
                size = size > 1e-9f ? size : 1e-9f;
                const float share = 1 - doubtful[k] / size, least = share > 0 ? share * sure : 0;
                const float open = exp_of(g);
                scaled[k] = x[k] * unit[k];
                out[k] = scaled[k] * (open > least ? open : least);
            }
            band_energies(scaled, edges, bands, before + row * bands);
            band_energies(out, edges, bands, after + row * bands);
        }
    }
}

/* The energies [2][t][bands] of shapes [t][2][bins], in units of rms [2][bins]. */
FOR_EACH_PROCESSOR
void levels_shape_energies(const float *shapes, const float *rms, int64_t t, int64_t bins,
                           const int64_t *edges, int64_t bands, float *energies)
{
    float scaled[MOST_BINS];
    for (int64_t channel = 0; channel < 2; channel++)
        for (int64_t i = 0; i < t; i++) {
            for (int64_t k = 0; k < bins; k++)
                scaled[k] = shapes[(2 * i + channel) * bins + k] * rms[channel * bins + k];
            band_energies(scaled, edges, bands, energies + (channel * t + i) * bands);
        }
}

/* Adds shapes [t][2][bins] in units of rms [2][bins], times amplitudes of bands [2][t][bands], to what is
 * opened [2][t][bins]. */
FOR_EACH_PROCESSOR
void levels_draw(const float *shapes, const float *rms, const float *amplitudes, int64_t t, int64_t bins,
                 const int64_t *edges, int64_t bands, float *opened)
{
    for (int64_t channel = 0; channel < 2; channel++)
        for (int64_t i = 0; i < t; i++) {
            const float *shape = shapes + (2 * i + channel) * bins, *unit = rms + channel * bins;
            const float *amplitude = amplitudes + (channel * t + i) * bands;
            float *out = opened + (channel * t + i) * bins;
            for (int64_t b = 0; b < bands; b++)
                for (int64_t k = edges[b]; k < edges[b + 1]; k++)
                    out[k] += shape[k] * unit[k] * amplitude[b];
        }
}

/* ---- What an encoder of levels measures: in double, so that the order of additions hardly matters -------- */

/* Mean powers of a bin of spectra [2][n + 1][bins], complex, of left and right: by_part [2][n / each][bands]
 * of each channel; mid [n / each][bands] of their sum over the root of 2; attack [n][attack bands] sums of both
 * channels. Bands as `stft_scale` has them. */
FOR_EACH_PROCESSOR
void levels_measure(const float *spectra, int64_t n, int64_t bins, int64_t each, const int64_t *edges,
                    int64_t bands, const int64_t *attack_edges, int64_t attack_bands, double *by_part,
                    double *mid, float *attack)
{
    double sums[3][MOST_BINS];
    const float *left = spectra, *right = spectra + (n + 1) * bins * 2;
    for (int64_t part = 0; part < n / each; part++) {
        memset(sums, 0, sizeof sums);
        for (int64_t i = part * each; i < (part + 1) * each; i++) {
            const float *l = left + i * bins * 2, *r = right + i * bins * 2;
            double both[MOST_BINS];
            for (int64_t k = 0; k < bins; k++) {
                const double lr = l[2 * k], li = l[2 * k + 1], rr = r[2 * k], ri = r[2 * k + 1];
                const double of_left = lr * lr + li * li, of_right = rr * rr + ri * ri;
                sums[0][k] += of_left;
                sums[1][k] += of_right;
                sums[2][k] += 0.5 * ((lr + rr) * (lr + rr) + (li + ri) * (li + ri));
                both[k] = of_left + of_right;
            }
            for (int64_t b = 0; b < attack_bands; b++) {
                double sum = 0;
                for (int64_t k = attack_edges[b]; k < attack_edges[b + 1]; k++)
                    sum += both[k];
                attack[i * attack_bands + b] = (float)sum;
            }
        }
        for (int64_t which = 0; which < 3; which++) {
            double *out = which < 2 ? by_part + (which * (n / each) + part) * bands : mid + part * bands;
            for (int64_t b = 0; b < bands; b++) {
                double sum = 0;
                for (int64_t k = edges[b]; k < edges[b + 1]; k++)
                    sum += sums[which][k];
                out[b] = sum / (double)(each * (edges[b + 1] - edges[b]));
            }
        }
    }
}

/* About the bits of the first `given` of coefficients x [frames][n], the sum of log2(1 + |x| / step), added to
 * bits [frames]. */
FOR_EACH_PROCESSOR
void levels_bits(const float *x, const float *step, int64_t frames, int64_t n, int64_t given, double *bits)
{
    enum { LANES = 16, TURNS = 8 }; /* as many factors as a double holds: each is below 2^100 */
    for (int64_t f = 0; f < frames; f++) {
        double sum = 0;
        for (int64_t first = 0; first < given; first += LANES * TURNS) {
            double products[LANES];
            for (int64_t i = 0; i < LANES; i++)
                products[i] = 1;
            const int64_t end = first + LANES * TURNS < given ? first + LANES * TURNS : given;
            for (int64_t k = first; k + LANES <= end; k += LANES)
                for (int64_t i = 0; i < LANES; i++)
                    products[i] *= 1 + fabs((double)(x[f * n + k + i] / step[k + i]));
            for (int64_t k = end - (end - first) % LANES; k < end; k++)
                products[0] *= 1 + fabs((double)(x[f * n + k] / step[k]));
            for (int64_t i = 0; i < LANES; i++)
                sum += log2(products[i]);
        }
        bits[f] += sum;
    }
}

/* The powers that tonal cells go by, mean of coefficients [2][frames][n]: power [frames][n]. */
FOR_EACH_PROCESSOR
void levels_pseudo_power(const float *x, int64_t frames, int64_t n, float *power)
{
    for (int64_t f = 0; f < frames; f++) {
        const float *a = x + f * n, *b = x + (frames + f) * n;
        float *out = power + f * n;
        for (int64_t k = 0; k < n; k++) {
            const float da = (k + 1 < n ? a[k + 1] : 0) - (k > 0 ? a[k - 1] : 0);
            const float db = (k + 1 < n ? b[k + 1] : 0) - (k > 0 ? b[k - 1] : 0);
            out[k] = ((a[k] * a[k] + da * da) + (b[k] * b[k] + db * db)) / 2;
        }
    }
}

/* Coefficients x [2][frames][n] of which the first `given` are latents, over their steps [2][given], times what
 * is coded of each [frames][given], times worth [frames][2 given]: out [frames][stride]. */
FOR_EACH_PROCESSOR
void levels_weigh(const float *x, const float *step, const float *coded, const float *worth, int64_t frames,
                  int64_t n, int64_t given, int64_t stride, float *out)
{
    for (int64_t f = 0; f < frames; f++)
        for (int64_t channel = 0; channel < 2; channel++) {
            const float *from = x + (channel * frames + f) * n, *of_step = step + channel * given;
            const float *part = coded + f * given, *weight = worth + (2 * f + channel) * given;
            float *to = out + f * stride + channel * given;
            for (int64_t k = 0; k < given; k++)
                to[k] = from[k] / of_step[k] * part[k] * weight[k];
        }
}
