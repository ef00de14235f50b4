#include "plain.h"

#include "plain_sizes.h" /* PLAIN_LARGEST: bytes of the largest map */

static uint8_t maps[2][PLAIN_LARGEST], averaged[PLAIN_LARGEST];

static int32_t dot(const uint8_t *restrict x, const int8_t *restrict w, int count) {
    int32_t sum = 0;
    int i;
    for (i = 0; i < count; ++i) sum += x[i] * w[i];
    return sum;
}

static const uint8_t *average(const uint8_t *x, int height, int width, int channels) {
    int y, i, c;
    for (y = 0; y < height / 2; ++y)
        for (i = 0; i < width / 2; ++i)
            for (c = 0; c < channels; ++c) {
                const uint8_t *at = x + (2 * y * width + 2 * i) * channels + c;
                averaged[(y * (width / 2) + i) * channels + c] =
                    (uint8_t)((at[0] + at[channels] + at[width * channels] + at[(width + 1) * channels] + 2) / 4);
            }
    return averaged;
}

static uint8_t scaled(int32_t sum, int32_t multiplier) {
    const int32_t value = sum <= 0 ? 0 : (int32_t)(((int64_t)sum * multiplier) >> 24);
    return (uint8_t)(value > 255 ? 255 : value);
}

int plain_run(const uint8_t *x) {
    int n, o, best = 0;
    int32_t most = 0;
    for (n = 0; n < plain_count; ++n) {
        const plain_layer *l = &plain_layers[n];
        uint8_t *out = maps[n % 2];
        if (l->pool) x = average(x, 2 * l->height, 2 * l->width, l->conv ? l->inputs : l->inputs / (l->height * l->width));
        if (l->conv) {
            int y, i, ky;
            for (y = 0; y < l->height; ++y)
                for (i = 0; i < l->width; ++i) {
                    const int first = i ? -1 : 0, taps = (i + 1 < l->width ? 2 : 1) - first;
                    for (o = 0; o < l->outputs; ++o) {
                        const int8_t *w = l->weights + o * 9 * l->inputs + (first + 1) * l->inputs;
                        int32_t sum = l->bias[o];
                        for (ky = 0; ky < 3; ++ky) /* the taps of a row lie side by side */
                            if (y + ky >= 1 && y + ky <= l->height)
                                sum += dot(x + ((y + ky - 1) * l->width + i + first) * l->inputs, w + ky * 3 * l->inputs, taps * l->inputs);
                        *out++ = scaled(sum, l->multiplier);
                    }
                }
        } else
            for (o = 0; o < l->outputs; ++o) {
                const int32_t sum = l->bias[o] + dot(x, l->weights + o * l->inputs, l->inputs);
                if (n + 1 < plain_count)
                    out[o] = scaled(sum, l->multiplier);
                else if (o == 0 || sum > most)
                    most = sum, best = o;
            }
        x = maps[n % 2];
    }
    return best;
}
