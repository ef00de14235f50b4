#include "fs_core.h"

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

static fs_int leaked(fs_int v, const fs_layer *l) {
    const fs_int size = v < 0 ? -v : v;
    const fs_int kept = size * l->keep / ((fs_int)1 << l->decay_bits);
    if (l->decay_bits == 0) return v;
    return v < 0 ? -kept : kept;
}

static fs_int weight_at(const fs_layer *l, int32_t at) {
    if (l->weight_bytes == 1) return ((const int8_t *)l->weights)[at];
    if (l->weight_bytes == 2) return ((const int16_t *)l->weights)[at];
    return (fs_int)((const int32_t *)l->weights)[at];
}

static void test(const fs_layer *l, fs_int v, int32_t channel, uint8_t *time, int step) {
    if (l->fires && (v > l->theta[channel] || (!l->strict && v == l->theta[channel]))) *time = (uint8_t)step;
}

/* One event at one synapse, to neuron n of channel c. */
static void add(const fs_layer *l, fs_state *s, fs_int *v, uint8_t *times, fs_int weight, int32_t n, int32_t c, int step) {
    if (times[n] != FS_SILENT) return;
    if (!l->by_event) {
        s->sums[n] += weight;
        return;
    }
    v[n] = bounded(v[n] + weight * ((fs_int)1 << l->shift), &l->membrane, &s->failed);
    test(l, v[n], c, &times[n], step);
}

/* One event: `row` is the place of its first weight, `first` its first target; there are out_c of them. */
static void deliver(const fs_layer *l, fs_state *s, fs_int *v, uint8_t *times, int32_t row, int32_t first, int step) {
    int32_t c;
    s->operations += (uint32_t)l->out_c;
    for (c = 0; c < l->out_c; ++c) add(l, s, v, times, weight_at(l, row + c), first + c, c, step);
}

static void deliver_shortcut(const fs_layer *l, fs_state *s, fs_int *v, uint8_t *times, int32_t source, int step) {
    const fs_shortcut *k = &l->shortcut;
    const int32_t c = source % k->in_c, site = source / k->in_c, y = site / k->in_w, x = site % k->in_w;
    if (y % k->stride_h || x % k->stride_w) return;
    ++s->operations;
    add(l, s, v, times, (fs_int)k->weights[c], (y / k->stride_h * l->out_w + x / k->stride_w) * l->out_c + c, c, step);
}

static void deliver_source(const fs_layer *l, fs_state *s, fs_int *v, uint8_t *times, int32_t source, int step) {
    const int32_t channel = source % l->in_c, site = source / l->in_c;
    const int32_t y = site / l->in_w / l->pool, x = site % l->in_w / l->pool;
    const int32_t height = l->in_h / l->pool, width = l->in_w / l->pool;
    int32_t oy, ox, first_y, first_x;
    if (y >= height || x >= width) return; /* beyond the last whole block of the pool */
    if (!l->conv) {
        deliver(l, s, v, times, ((y * width + x) * l->in_c + channel) * l->out_c, 0, step);
        return;
    }
    /* Outputs o with 0 <= y + pad - o stride < kernel, in ascending order. */
    first_y = y + l->pad_h < l->kernel_h ? 0 : (y + l->pad_h - l->kernel_h) / l->stride_h + 1;
    first_x = x + l->pad_w < l->kernel_w ? 0 : (x + l->pad_w - l->kernel_w) / l->stride_w + 1;
    for (oy = first_y; oy < l->out_h && oy * l->stride_h <= y + l->pad_h; ++oy) {
        for (ox = first_x; ox < l->out_w && ox * l->stride_w <= x + l->pad_w; ++ox) {
            const int32_t ky = y + l->pad_h - oy * l->stride_h, kx = x + l->pad_w - ox * l->stride_w;
            const int32_t row = ((channel * l->kernel_h + ky) * l->kernel_w + kx) * l->out_c;
            deliver(l, s, v, times, row, (oy * l->out_w + ox) * l->out_c, step);
        }
    }
}

/* sources, beside: the times of the layer's source and of its shortcut's. */
static void step_layer(const fs_layer *l, fs_state *s, int32_t first, const uint8_t *sources, const uint8_t *beside, int step) {
    fs_int *v = s->v + first;
    uint8_t *times = s->times + first;
    const int32_t neurons = fs_neurons(l), count = l->in_h * l->in_w * l->in_c;
    const int sent = step - l->delay, sent_beside = step - l->shortcut.delay;
    int32_t n;
    for (n = 0; n < neurons; ++n) {
        s->sums[n] = 0;
        if (l->by_event && times[n] == FS_SILENT) v[n] = leaked(v[n], l);
    }
    if (sent >= 0)
        for (n = 0; n < count; ++n)
            if (sources[n] == sent) deliver_source(l, s, v, times, n, step);
    if (l->shortcut.source != FS_NONE && sent_beside >= 0)
        for (n = 0; n < l->shortcut.in_h * l->shortcut.in_w * l->shortcut.in_c; ++n)
            if (beside[n] == sent_beside) deliver_shortcut(l, s, v, times, n, step);
    for (n = 0; n < neurons; ++n) {
        const int32_t channel = n % l->out_c;
        fs_int next;
        if (times[n] != FS_SILENT) continue;
        next = v[n];
        if (!l->by_event) next = leaked(v[n], l) + bounded(s->sums[n] * ((fs_int)1 << l->shift), &l->accumulator, &s->failed);
        v[n] = bounded(next + l->bias[channel], &l->membrane, &s->failed);
        test(l, v[n], channel, &times[n], step);
    }
}

int32_t fs_neurons(const fs_layer *layer) { return layer->out_h * layer->out_w * layer->out_c; }

int32_t fs_first_neuron(int layer) {
    int32_t first = 0;
    int l;
    for (l = 0; l < layer; ++l) first += fs_neurons(&fs_layers[l]);
    return first;
}

#if FS_READOUT == FS_MEMBRANE
/* The running sums of a membrane readout: of the last step, of all, or of all with weights T - t. */
static void read_step(fs_state *s, int step) {
    const fs_layer *last = &fs_layers[FS_LAYERS - 1];
    const int32_t first = fs_first_neuron(FS_LAYERS - 1);
    const int64_t factor = FS_MODE == FS_WEIGHTED ? last->stop - step : 1;
    int32_t n;
    for (n = 0; n < FS_OUTPUTS; ++n) {
        const int64_t v = (int64_t)s->v[first + n] * factor;
        s->scores[n] = FS_MODE == FS_LAST ? v : s->scores[n] + v;
    }
}
#elif FS_READOUT == FS_TEMPORAL
static void read_times(fs_state *s) {
    const uint8_t *times = s->times + fs_first_neuron(FS_LAYERS - 1);
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
        if (s->times[first + n] < s->times[first + best] ||
            (s->times[first + n] == s->times[first + best] && s->scores[n] > s->scores[best]))
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

int fs_run(fs_state *s, const uint8_t *times, fs_observer observer, void *data) {
    int32_t n;
    int step, l;
    for (n = 0; n < FS_NEURONS; ++n) s->v[n] = 0, s->times[n] = FS_SILENT;
    for (n = 0; n < FS_OUTPUTS; ++n) s->scores[n] = 0;
    s->operations = 0;
    s->failed = 0;
    for (step = 0; step < FS_TOTAL_STEPS; ++step) {
        int32_t before = 0, first = 0;
        for (l = 0; l < FS_LAYERS; ++l) {
            const uint8_t *sources = l == 0 ? times : s->times + before;
            const int32_t from = fs_layers[l].shortcut.source;
            const uint8_t *beside = from < 0 ? times : s->times + fs_first_neuron((int)from);
            if (step >= fs_layers[l].start && step < fs_layers[l].stop)
                step_layer(&fs_layers[l], s, first, sources, beside, step);
            before = first;
            first += fs_neurons(&fs_layers[l]);
        }
#if FS_READOUT == FS_MEMBRANE
        if (step >= fs_layers[FS_LAYERS - 1].start && step < fs_layers[FS_LAYERS - 1].stop) read_step(s, step);
#endif
        if (observer) observer(s, step, data);
    }
#if FS_READOUT == FS_TEMPORAL
    read_times(s);
#endif
    return s->failed ? -1 : decide(s);
}

#if FS_HAS_ENCODER
void fs_encode(const uint8_t *pixels, uint8_t *times) {
    int32_t n;
    for (n = 0; n < FS_SOURCES; ++n) times[n] = fs_time_of_pixel[pixels[n]];
}
#endif
