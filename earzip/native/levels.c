#include "loops.h"

#include <math.h>
#include <string.h>

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
