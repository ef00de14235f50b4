/* Runs a spiking network in integers: no floats, no heap, no library. See README.txt beside this file.

   Every sum, membrane, spike time and decision equals that of firstspike's emulator, bit for bit. */
#ifndef FS_CORE_H
#define FS_CORE_H

/* What FS_READOUT and FS_MODE of fs_network.h may be. */
#define FS_MEMBRANE 0
#define FS_TEMPORAL 1
#define FS_FIRST_SPIKE 2
#define FS_LAST 0
#define FS_MEAN 1
#define FS_WEIGHTED 2
#define FS_INDEX 3

#include "fs_network.h"

#define FS_STEPWISE 1
#define FS_SILENT 255 /* the time of a neuron that does not fire */

/* An integer register: values beyond low..high saturate, or wrap modulo 2^bits. `error`: an overflow fails the run. */
typedef struct {
    fs_int low, high;
    int16_t bits;
    uint8_t wrap, error;
} fs_register;

/* The input of a residual block into its last layer: neuron (y, x, c) has a synapse from (y stride_h, x stride_w, c). */
typedef struct {
    int32_t source; /* a layer, -1 for the program's sources, or FS_NONE where there is no shortcut */
    int32_t in_h, in_w, in_c, stride_h, stride_w;
    int16_t delay;
    const int32_t *weights; /* [in_c] */
} fs_shortcut;

#define FS_NONE (-2)

/* One layer. Neurons are numbered row, column, channel. Rows of weights have row_c places. */
typedef struct {
    uint8_t conv, fires, by_event, strict; /* strict: fires at V > theta, else at V >= theta */
    int32_t in_h, in_w, in_c, pool, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, out_h, out_w, out_c, row_c;
    int16_t delay, start, stop; /* an event of step t arrives in t + delay; updates in start <= t < stop */
    uint8_t shift, decay_bits;  /* weights count 2^shift times; the membrane keeps keep / 2^decay_bits per step */
    int32_t keep;
    uint8_t by_shift, has_current; /* by_shift: it loses 1 / 2^keep, at least one; has_current: the input enters a current, */
    int32_t current_keep;          /* which leaks as the membrane does */
    uint8_t weight_bits;
    const void *weights; /* linear: [source][output]; conv: [in channel][ky][kx][out channel] */
    const fs_int *theta, *bias;
    fs_register accumulator, membrane;
    fs_shortcut shortcut;
} fs_layer;

#if FS_HAS_FIRST
/* The first layer, on pixels: constant currents, from sums of (pixel - zero) times weights, rounded by `coarse` bits. */
typedef struct {
    int32_t in_h, in_w, in_c, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, out_h, out_w, out_c, row_c;
    uint8_t strict, shift, decay_bits;
    int32_t keep, high;
    uint8_t weight_bits;
    const void *weights; /* [ky][kx][in channel][out channel] */
    const fs_int *theta, *bias;
    const uint8_t *coarse, *zero; /* [out_c], [in_c] */
} fs_first_layer;

extern const fs_first_layer fs_first;
#endif

typedef struct {
    fs_int v[FS_NEURONS];         /* membranes of all layers; of a neuron that fired, the value at its spike */
#if FS_HAS_CURRENT
    fs_int currents[FS_NEURONS];
#endif
    fs_int sums[FS_LARGEST];      /* one layer's input of one step */
    int64_t scores[FS_OUTPUTS];   /* of the outputs, then of the classes */
#if FS_READOUT == FS_MEMBRANE && FS_MODE == FS_WEIGHTED
    int64_t totals[FS_OUTPUTS];   /* of the outputs' membranes */
#endif
    uint32_t operations;          /* synapses of all events that arrived */
    uint8_t neurons[FS_NEURONS];  /* spike times of all layers, FS_SILENT for none */
    uint8_t failed;               /* a register with policy `error` overflowed */
#if FS_KEEPS_SOURCES
    uint8_t sources[FS_SOURCES];  /* spike times of the first layer, or of the encoder */
#endif
} fs_state;

extern const fs_layer fs_layers[FS_LAYERS];
extern const int64_t fs_time_weights[]; /* of a spike in each step, for FS_TEMPORAL */

#if FS_HAS_PIXELS
/* The class of one image of FS_PIXELS pixels, 0 to FS_CLASSES - 1; -1 where a register with policy `error` overflowed. */
int fs_run(fs_state *state, const uint8_t *pixels);
#endif

/* The same of the spike times of the FS_SOURCES sources, 0 to FS_STEPS - 1 or FS_SILENT. */
int fs_run_spikes(fs_state *state, const uint8_t *times);

#endif
