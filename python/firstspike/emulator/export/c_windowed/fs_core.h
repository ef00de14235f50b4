/* Runs a net of windows in integers: no floats, no heap, no library. See README.txt beside this file.

   A neuron's level is T - t for a spike in step t of its window of T steps, 0 for silence. Every level, score and decision equals
   that of firstspike's emulator, which runs the net step by step. */
#ifndef FS_CORE_H
#define FS_CORE_H

#include "fs_network.h"

#define FS_STEPWISE 0

/* The synapses of a layer from one source. Each output has a kernel on the source's map, pooled pool x pool; the kernel of a
   linear layer is the complete map. weights: [ky][kx][channel of the group][output], with row_c places for the outputs. */
typedef struct {
    int32_t source; /* a layer before this one, -1 for the net's sources */
    int32_t in_h, in_w, in_c, pool, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, groups, row_c;
    uint8_t weight_bits;
    const void *weights; /* null: a max pool, which takes the largest level under its kernel */
} fs_synapses;

/* A layer. Neurons are numbered row, column, channel. Its level is the sum divided by `rise`, at most `steps`. */
typedef struct {
    int32_t out_h, out_w, out_c;
    int32_t first;            /* its first neuron in `neurons` */
    uint8_t steps, inputs;    /* steps is 0 for the readout, whose sums are the scores */
    const fs_int *bias, *rise; /* [out_c] */
    fs_synapses input[2];
} fs_layer;

typedef struct {
    uint8_t neurons[FS_NEURONS]; /* levels of all layers that fire */
    fs_int sums[FS_CHANNELS];   /* of one place of a layer's map */
    fs_int scores[FS_OUTPUTS];
    uint32_t operations;        /* synapses of all spikes */
#if FS_KEEPS_SOURCES
    uint8_t sources[FS_SOURCES];
#endif
} fs_state;

extern const fs_layer fs_layers[FS_LAYERS];

#if FS_HAS_PIXELS
/* The class of one image of FS_PIXELS pixels, 0 to FS_OUTPUTS - 1. */
int fs_run(fs_state *state, const uint8_t *pixels);
#endif

/* The same of the levels of the FS_SOURCES sources. */
int fs_run_spikes(fs_state *state, const uint8_t *levels);

#endif
