#include "fs_core.h"
#include "fs_common.h"

#if FS_HAS_CURRENT
#define FS_CURRENT(state, n) ((state)->currents + (n))
#else
#define FS_CURRENT(state, n) ((fs_int *)0)
#endif

static fs_int bounded(fs_int x, const fs_register *r, uint8_t *changed) {
    fs_int y = x;
    if (r->wrap)
        y = (fs_int)(((fs_uint)x - (fs_uint)r->low) & (((fs_uint)1 << r->bits) - 1)) + r->low;
    else if (x < r->low)
        y = r->low;
    else if (x > r->high)
        y = r->high;
    *changed |= (uint8_t)(r->error && y != x);
    return y;
}

static fs_int leaked(fs_int v, int32_t keep, int decay_bits) {
    int64_t kept;
    if (decay_bits == 0) return keep ? v : 0;
    kept = (v < 0 ? -(int64_t)v : (int64_t)v) * keep / ((int64_t)1 << decay_bits);
    return (fs_int)(v < 0 ? -kept : kept);
}

#if FS_BY_SHIFT
/* v less v / 2^shift, rounded down; less at least one, toward zero. */
static fs_int leaked_by_shift(fs_int v, int shift) {
    const fs_int share = v < 0 ? -((-v - 1) >> shift) - 1 : v >> shift;
    return v - (share != 0 ? share : (v > 0));
}
#endif

/* A register of the layer after one step's leak. */
static fs_int kept(const fs_layer *l, fs_int v, int32_t keep) {
#if FS_BY_SHIFT
    if (l->by_shift) return leaked_by_shift(v, (int)keep);
#endif
    return leaked(v, keep, l->decay_bits);
}

static int32_t fs_neurons(const fs_layer *layer) { return layer->out_h * layer->out_w * layer->out_c; }

static int32_t fs_first_neuron(int layer) {
    int32_t first = 0;
    int l;
    for (l = 0; l < layer; ++l) first += fs_neurons(&fs_layers[l]);
    return first;
}

static void test(const fs_layer *l, fs_int v, int32_t channel, uint8_t *time, int step) {
    if (l->fires && (v > l->theta[channel] || (!l->strict && v == l->theta[channel]))) *time = (uint8_t)step;
}

#if FS_BY_EVENT
static fs_int weight_at(const fs_layer *l, int32_t at) {
    if (l->weight_bits == 8) return ((const int8_t *)l->weights)[at];
    if (l->weight_bits == 16) return ((const int16_t *)l->weights)[at];
    if (l->weight_bits == 32) return ((const int32_t *)l->weights)[at];
    return (((((const uint8_t *)l->weights)[at / 2] >> (at % 2 * 4)) & 15) ^ 8) - 8;
}

static void add_and_test(const fs_layer *l, fs_state *s, fs_int *v, uint8_t *times, fs_int weight, int32_t n, int32_t c, int step) {
    if (times[n] != FS_SILENT) return;
    v[n] = bounded(v[n] + weight * ((fs_int)1 << l->shift), &l->membrane, &s->failed);
    test(l, v[n], c, &times[n], step);
}
#endif

/* Where a step's events go: to the sums, or one by one to the membranes. */
typedef struct {
    const fs_layer *l;
    fs_state *s;
    fs_int *v;
    uint8_t *times;
    int step;
    fs_batch batch;
} fs_target;

/* One event: `row` is the place of its first weight, `first` its first target; there are out_c of them. */
static void deliver(fs_target *t, int32_t row, int32_t first) {
    const fs_layer *l = t->l;
    t->s->operations += (uint32_t)l->out_c;
#if FS_BY_EVENT
    if (l->by_event) {
        int32_t c;
        for (c = 0; c < l->out_c; ++c) add_and_test(l, t->s, t->v, t->times, weight_at(l, row + c), first + c, c, t->step);
        return;
    }
#endif
    fs_push(&t->batch, t->s->sums + first, l->weights, l->weight_bits, row, l->out_c, 1);
}

static void deliver_shortcut(fs_target *t, int32_t source) {
    const fs_layer *l = t->l;
    const fs_shortcut *k = &l->shortcut;
    const int32_t c = source % k->in_c, site = source / k->in_c, y = site / k->in_w, x = site % k->in_w;
    const int32_t n = (y / k->stride_h * l->out_w + x / k->stride_w) * l->out_c + c;
    if (y % k->stride_h || x % k->stride_w) return;
    ++t->s->operations;
#if FS_BY_EVENT
    if (l->by_event) {
        add_and_test(l, t->s, t->v, t->times, (fs_int)k->weights[c], n, c, t->step);
        return;
    }
#endif
    t->s->sums[n] += (fs_int)k->weights[c];
}

static void deliver_source(fs_target *t, int32_t source) {
    const fs_layer *l = t->l;
    const int32_t channel = source % l->in_c, site = source / l->in_c;
    const int32_t y = site / l->in_w / l->pool, x = site % l->in_w / l->pool;
    const int32_t height = l->in_h / l->pool, width = l->in_w / l->pool;
    int32_t oy, ox, first_y, first_x;
    if (y >= height || x >= width) return; /* beyond the last whole block of the pool */
    if (!l->conv) {
        deliver(t, ((y * width + x) * l->in_c + channel) * l->row_c, 0);
        return;
    }
    /* Outputs o with 0 <= y + pad - o stride < kernel, in ascending order. */
    first_y = y + l->pad_h < l->kernel_h ? 0 : (y + l->pad_h - l->kernel_h) / l->stride_h + 1;
    first_x = x + l->pad_w < l->kernel_w ? 0 : (x + l->pad_w - l->kernel_w) / l->stride_w + 1;
    for (oy = first_y; oy < l->out_h && oy * l->stride_h <= y + l->pad_h; ++oy) {
        for (ox = first_x; ox < l->out_w && ox * l->stride_w <= x + l->pad_w; ++ox) {
            const int32_t ky = y + l->pad_h - oy * l->stride_h, kx = x + l->pad_w - ox * l->stride_w;
            const int32_t row = ((channel * l->kernel_h + ky) * l->kernel_w + kx) * l->row_c;
            deliver(t, row, (oy * l->out_w + ox) * l->out_c);
        }
    }
}

/* What a neuron's membrane gets in a step in which events add `added`; current: of the neuron. */
static fs_int input_of(const fs_layer *l, fs_int *current, fs_int added, uint8_t *failed) {
#if FS_HAS_CURRENT
    if (l->has_current) {
        const fs_int before = l->by_shift ? *current : kept(l, *current, l->current_keep);
        added = bounded(before + added, &l->accumulator, failed);
        *current = l->by_shift ? kept(l, added, l->current_keep) : added;
        return *current;
    }
#else
    (void)current;
#endif
    return bounded(added, &l->accumulator, failed);
}

/* sources, beside: the times of the layer's source and of its shortcut's. */
static void step_layer(const fs_layer *l, fs_state *s, int32_t first, const uint8_t *sources, const uint8_t *beside, int step) {
    fs_int *v = s->v + first;
    uint8_t *times = s->neurons + first;
    const int32_t neurons = fs_neurons(l), count = l->in_h * l->in_w * l->in_c;
    const int sent = step - l->delay, sent_beside = step - l->shortcut.delay;
    int32_t n, channel = 0;
    fs_target t;
    t.l = l, t.s = s, t.v = v, t.times = times, t.step = step, t.batch.rows = 0;
    for (n = 0; n < neurons; ++n) {
        s->sums[n] = 0;
        if (l->by_event && times[n] == FS_SILENT) v[n] = leaked(v[n], l->keep, l->decay_bits);
    }
    if (sent >= 0)
        for (n = 0; n < count; ++n)
            if (sources[n] == sent) deliver_source(&t, n);
    fs_flush(&t.batch, l->weights, l->weight_bits, l->out_c);
    if (l->shortcut.source != FS_NONE && sent_beside >= 0)
        for (n = 0; n < l->shortcut.in_h * l->shortcut.in_w * l->shortcut.in_c; ++n)
            if (beside[n] == sent_beside) deliver_shortcut(&t, n);
    for (n = 0; n < neurons; ++n) {
        if (times[n] == FS_SILENT) {
            fs_int next = v[n];
            if (!l->by_event)
                next = kept(l, next, l->keep) + input_of(l, FS_CURRENT(s, first + n), s->sums[n] * ((fs_int)1 << l->shift), &s->failed);
            v[n] = bounded(next + l->bias[channel], &l->membrane, &s->failed);
            test(l, v[n], channel, &times[n], step);
        }
        channel = channel + 1 == l->out_c ? 0 : channel + 1;
    }
}

#if FS_HAS_FIRST
/* The time of a neuron of the first layer, of its sum. */
static uint8_t time_of(fs_int sum, int32_t c) {
    const fs_first_layer *l = &fs_first;
    const int coarse = l->coarse[c];
    const fs_int half = coarse ? (fs_int)1 << (coarse - 1) : 0, reached = l->theta[c] + l->strict;
    fs_int current = 0, v = 0;
    int step;
    if (sum > -half) current = (fs_int)(((fs_uint)sum + (fs_uint)half) >> coarse);
    if (current > l->high) current = l->high;
    if (current == 0) return FS_SILENT;
    current *= (fs_int)1 << l->shift;
    for (step = 0; step < FS_STEPS; ++step) {
        v = leaked(v, l->keep, l->decay_bits) + current;
        if (v >= reached) return (uint8_t)step;
    }
    return FS_SILENT;
}

static void run_first(fs_state *s, const uint8_t *pixels) {
    const fs_first_layer *l = &fs_first;
    uint8_t *times = s->sources;
    int32_t oy, ox, ky, kx, c;
    for (oy = 0; oy < l->out_h; ++oy)
        for (ox = 0; ox < l->out_w; ++ox) {
            fs_batch batch;
            batch.rows = 0;
            for (c = 0; c < l->out_c; ++c) s->sums[c] = l->bias[c];
            for (ky = 0; ky < l->kernel_h; ++ky) {
                const int32_t y = oy * l->stride_h + ky - l->pad_h;
                if (y < 0 || y >= l->in_h) continue;
                for (kx = 0; kx < l->kernel_w; ++kx) {
                    const int32_t x = ox * l->stride_w + kx - l->pad_w;
                    const uint8_t *at = pixels + (y * l->in_w + x) * l->in_c;
                    const int32_t row = (ky * l->kernel_w + kx) * l->in_c;
                    if (x < 0 || x >= l->in_w) continue;
                    for (c = 0; c < l->in_c; ++c)
                        if (at[c] != l->zero[c])
                            fs_push(&batch, s->sums, l->weights, l->weight_bits, (row + c) * l->row_c, l->out_c, (fs_int)at[c] - l->zero[c]);
                }
            }
            fs_flush(&batch, l->weights, l->weight_bits, l->out_c);
            for (c = 0; c < l->out_c; ++c) *times++ = time_of(s->sums[c], c);
        }
}
#endif

#if FS_READOUT == FS_MEMBRANE
/* The sums of a membrane readout if the run ended now: of the last step, of all steps, or of all with weights that fall to 1. */
static void read_step(fs_state *s) {
    const int32_t first = fs_first_neuron(FS_LAYERS - 1);
    int32_t n;
    for (n = 0; n < FS_OUTPUTS; ++n) {
        int64_t v = s->v[first + n];
#if FS_MODE == FS_WEIGHTED
        v = s->totals[n] += v;
#endif
        s->scores[n] = FS_MODE == FS_LAST ? v : s->scores[n] + v;
    }
}

#if FS_MARGIN
/* Whether the best class leads the second by FS_MARGIN, in the unit of the sums after `ran` steps. */
static int is_clear(const fs_state *s, int64_t ran) {
    const int64_t factor = FS_MODE == FS_MEAN ? ran : FS_MODE == FS_WEIGHTED ? ran * (ran + 1) / 2 : 1;
    int64_t best = INT64_MIN, second = INT64_MIN;
    int32_t n, c;
    for (c = 0; c < FS_CLASSES; ++c) {
        int64_t score = 0;
        for (n = 0; n < FS_OUTPUTS / FS_CLASSES; ++n) score += s->scores[c * (FS_OUTPUTS / FS_CLASSES) + n];
        if (score > best)
            second = best, best = score;
        else if (score > second)
            second = score;
    }
    return best - second >= FS_MARGIN * factor;
}
#endif
#elif FS_READOUT == FS_TEMPORAL
static void read_times(fs_state *s) {
    const uint8_t *times = s->neurons + fs_first_neuron(FS_LAYERS - 1);
    int32_t n;
    for (n = 0; n < FS_OUTPUTS; ++n)
        s->scores[n] = times[n] == FS_SILENT ? 0 : fs_time_weights[times[n] - fs_layers[FS_LAYERS - 1].start];
}
#endif

#if FS_READOUT == FS_FIRST_SPIKE
/* The class of the first output spike; ties go to the larger V - theta unless the mode is FS_INDEX, then to the lower class. */
static int decide(fs_state *s) {
    const fs_layer *last = &fs_layers[FS_LAYERS - 1];
    const int32_t first = fs_first_neuron(FS_LAYERS - 1), group = FS_OUTPUTS / FS_CLASSES;
    int32_t n, best = 0;
    for (n = 0; n < FS_OUTPUTS; ++n) {
        s->scores[n] = FS_MODE == FS_INDEX ? 0 : (int64_t)s->v[first + n] - last->theta[n % last->out_c];
        if (s->neurons[first + n] < s->neurons[first + best] ||
            (s->neurons[first + n] == s->neurons[first + best] && s->scores[n] > s->scores[best]))
            best = n;
    }
    return (int)(best / group);
}
#else
static int decide(fs_state *s) {
    const int32_t group = FS_OUTPUTS / FS_CLASSES;
    int32_t n, c, best = 0;
    for (c = 0; c < FS_CLASSES; ++c) {
        int64_t score = 0;
        for (n = 0; n < group; ++n) score += s->scores[c * group + n];
        s->scores[c] = score;
        if (score > s->scores[best]) best = c;
    }
    return (int)best;
}
#endif

int fs_run_spikes(fs_state *s, const uint8_t *times) {
    int32_t n;
    int step, l;
    for (n = 0; n < FS_NEURONS; ++n) s->v[n] = 0, s->neurons[n] = FS_SILENT;
#if FS_HAS_CURRENT
    for (n = 0; n < FS_NEURONS; ++n) s->currents[n] = 0;
#endif
    for (n = 0; n < FS_OUTPUTS; ++n) s->scores[n] = 0;
#if FS_READOUT == FS_MEMBRANE && FS_MODE == FS_WEIGHTED
    for (n = 0; n < FS_OUTPUTS; ++n) s->totals[n] = 0;
#endif
    s->operations = 0;
    s->failed = 0;
    for (step = 0; step < FS_TOTAL_STEPS; ++step) {
        int32_t before = 0, first = 0;
        for (l = 0; l < FS_LAYERS; ++l) {
            const uint8_t *sources = l == 0 ? times : s->neurons + before;
            const int32_t from = fs_layers[l].shortcut.source;
            const uint8_t *beside = from < 0 ? times : s->neurons + fs_first_neuron((int)from);
            if (step >= fs_layers[l].start && step < fs_layers[l].stop)
                step_layer(&fs_layers[l], s, first, sources, beside, step);
            before = first;
            first += fs_neurons(&fs_layers[l]);
        }
#if FS_READOUT == FS_MEMBRANE
        if (step >= fs_layers[FS_LAYERS - 1].start && step < fs_layers[FS_LAYERS - 1].stop) {
            read_step(s);
#if FS_MARGIN
            if (is_clear(s, step - fs_layers[FS_LAYERS - 1].start + 1)) break;
#endif
        }
#endif
    }
#if FS_READOUT == FS_TEMPORAL
    read_times(s);
#endif
    return s->failed ? -1 : decide(s);
}

#if FS_HAS_PIXELS
int fs_run(fs_state *s, const uint8_t *pixels) {
#if FS_HAS_FIRST
    run_first(s, pixels);
#else
    fs_encode(pixels, s->sources);
#endif
    return fs_run_spikes(s, s->sources);
}
#endif
