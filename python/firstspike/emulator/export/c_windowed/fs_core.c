#include "fs_core.h"
#include "fs_common.h"

/* The levels above `cut` that are pooled at (y, x) of a channel, summed without it, and the number of spikes. */
static fs_int pooled(const fs_synapses *k, const uint8_t *levels, int cut, int32_t y, int32_t x, int32_t channel,
                     uint32_t *spikes) {
    fs_int level = 0;
    int32_t i, j;
    for (i = y * k->pool; i < (y + 1) * k->pool; ++i)
        for (j = x * k->pool; j < (x + 1) * k->pool; ++j) {
            const int one = levels[(i * k->in_w + j) * k->in_c + channel] - cut;
            if (one > 0) level += one, ++*spikes;
        }
    return level;
}

/* All that reaches the outputs at (oy, ox) from one source. */
static void gather(fs_state *s, const fs_layer *l, const fs_synapses *k, const uint8_t *levels, int cut, int32_t oy, int32_t ox) {
    const int32_t height = k->in_h / k->pool, width = k->in_w / k->pool;
    const int32_t inputs = k->in_c / k->groups, outputs = l->out_c / k->groups;
    int32_t ky, kx, g, c;
    fs_batch batch;
    batch.rows = 0;
    for (ky = 0; ky < k->kernel_h; ++ky) {
        const int32_t y = oy * k->stride_h + ky - k->pad_h;
        if (y < 0 || y >= height) continue;
        for (kx = 0; kx < k->kernel_w; ++kx) {
            const int32_t x = ox * k->stride_w + kx - k->pad_w;
            if (x < 0 || x >= width) continue;
            for (g = 0; g < k->groups; ++g)
                for (c = 0; c < inputs; ++c) {
                    uint32_t spikes = 0;
                    const fs_int level = pooled(k, levels, cut, y, x, g * inputs + c, &spikes);
                    const int32_t row = ((ky * k->kernel_w + kx) * inputs + c) * k->row_c;
                    if (spikes == 0) continue;
                    s->operations += spikes * (uint32_t)outputs;
                    if (k->weights)
                        fs_push(&batch, s->sums + g * outputs, k->weights, k->weight_bits, row + g * outputs, outputs, level);
                    else if (level > s->sums[g])
                        s->sums[g] = level;
                }
        }
    }
    fs_flush(&batch, k->weights, k->weight_bits, outputs);
}

/* cut: how many steps of the window of its input are left out, at the end. */
static void run_layer(fs_state *s, const fs_layer *l, const uint8_t *sources, int cut) {
    int32_t oy, ox, c;
    int n;
    for (oy = 0; oy < l->out_h; ++oy)
        for (ox = 0; ox < l->out_w; ++ox) {
            uint8_t *out = s->neurons + l->first + (oy * l->out_w + ox) * l->out_c;
            for (c = 0; c < l->out_c; ++c) s->sums[c] = l->bias[c];
            for (n = 0; n < l->inputs; ++n) {
                const fs_synapses *k = &l->input[n];
                gather(s, l, k, k->source < 0 ? sources : s->neurons + fs_layers[k->source].first, cut, oy, ox);
            }
            for (c = 0; c < l->out_c; ++c) {
                const fs_int v = s->sums[c];
                if (l->steps == 0)
                    s->scores[c] = v;
                else if (v < l->rise[c])
                    out[c] = 0;
                else
                    out[c] = v / l->rise[c] < l->steps ? (uint8_t)(v / l->rise[c]) : l->steps;
            }
        }
}

#if FS_MARGIN
/* Whether the best score leads the second by FS_MARGIN. */
static int is_clear(const fs_state *s) {
    int64_t best = INT64_MIN, second = INT64_MIN;
    int32_t n;
    for (n = 0; n < FS_OUTPUTS; ++n) {
        if (s->scores[n] > best)
            second = best, best = s->scores[n];
        else if (s->scores[n] > second)
            second = s->scores[n];
    }
    return best - second >= FS_MARGIN;
}
#endif

int fs_run_spikes(fs_state *s, const uint8_t *levels) {
    int32_t n, best = 0;
    int l;
    s->operations = 0;
    for (l = 0; l < FS_LAYERS - 1 - FS_LAST_POOLS; ++l) run_layer(s, &fs_layers[l], levels, 0);
#if FS_MARGIN
    { /* Pools before the readout share its window, and end with it: their levels are above `cut`. */
        const uint32_t before = s->operations;
        int cut = FS_WINDOW;
        do {
            --cut;
            s->operations = before;
            for (n = 0; n <= FS_LAST_POOLS; ++n) run_layer(s, &fs_layers[l + n], levels, n == 0 ? cut : 0);
        } while (cut > 0 && !is_clear(s));
    }
#else
    for (; l < FS_LAYERS; ++l) run_layer(s, &fs_layers[l], levels, 0);
#endif
    for (n = 1; n < FS_OUTPUTS; ++n)
        if (s->scores[n] > s->scores[best]) best = n;
    return (int)best;
}

#if FS_HAS_PIXELS
int fs_run(fs_state *s, const uint8_t *pixels) {
#if FS_ENCODES
    fs_encode(pixels, s->sources);
    return fs_run_spikes(s, s->sources);
#else
    return fs_run_spikes(s, pixels);
#endif
}
#endif
