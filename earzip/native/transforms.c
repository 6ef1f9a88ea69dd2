#include "loops.h"

#include <string.h>

/* ---- The modified discrete cosine transform, beside an FFT of N / 2 complex numbers ------------------- */

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
