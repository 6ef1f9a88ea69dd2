#include "loops.h"

#include <stdlib.h>

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
