/* Runs a net of windows in integers: no floats, no heap, no library. See README.txt beside this file.

   A neuron's level is T - t for a spike in step t of its window of T steps, 0 for silence. Every level, score and decision equals
   that of firstspike's emulator, which runs the net step by step. */
#ifndef FS_CORE_H
#define FS_CORE_H

#include "fs_network.h"

/* The synapses of a layer from one source. Each output has a kernel on the source's map, pooled pool x pool; the kernel of a
   linear layer is the complete map. weights: [channel of the group][ky][kx][output] where conv, else [ky][kx][channel][output]. */
typedef struct {
    int32_t source; /* a layer before this one, -1 for the net's sources */
    int32_t in_h, in_w, in_c, pool, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, groups;
    uint8_t conv, weight_bytes;
    const void *weights; /* null: a max pool, which takes the largest level under its kernel */
} fs_synapses;

/* A layer. Neurons are numbered row, column, channel. Its level is the sum divided by `rise`, at most `steps`. */
typedef struct {
    int32_t out_h, out_w, out_c;
    int32_t first;            /* its first neuron in `levels` */
    uint8_t steps, inputs;    /* steps is 0 for the readout, whose sums are the scores */
    const fs_int *bias, *rise; /* [out_c] */
    fs_synapses input[2];
} fs_layer;

typedef struct {
    uint8_t levels[FS_NEURONS]; /* of all layers that fire */
    fs_int sums[FS_CHANNELS];   /* of one place of a layer's map */
    fs_int scores[FS_OUTPUTS];
    uint32_t operations;        /* synapses of all spikes */
#if FS_ENCODES
    uint8_t sources[FS_SOURCES];
#endif
} fs_state;

extern const fs_layer fs_layers[FS_LAYERS];

/* The class of one sample, 0 to FS_OUTPUTS - 1, of the levels of the FS_SOURCES sources. */
int fs_run_levels(fs_state *state, const uint8_t *levels);

#if FS_HAS_ENCODER
/* The same of FS_PIXELS pixels, 0 to 255. */
int fs_run(fs_state *state, const uint8_t *pixels);
#endif

#endif
