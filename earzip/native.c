/* Loops that numpy and torch take many passes for. Called by earzip/native.py, without Python's headers.
 *
 * Whatever decides an archive's bytes gives what the Python beside it gives, to the bit: so it is compiled
 * with -ffp-contract=off, for processors without fused multiplication (GCC 12 fuses complex products all the
 * same where there is AVX-512), and each sum is rounded in the order in which Python rounds it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

/* Raised with every change of what follows: a library of another version is not used. */
int earzip_native_version(void) { return 1; }

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
            for (int64_t k = 0; k < hop; k++)
                out[k] = i > 0 ? from[k] * window[k] : 0;
            for (int64_t k = hop; k < 2 * hop; k++)
                out[k] = i < n ? from[k] * window[k] : 0;
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
