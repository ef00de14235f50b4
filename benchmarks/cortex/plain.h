/* A plain net of bytes: dense layers, 3 x 3 convolutions padded by 1, and averages over 2 x 2, in ReLU and per-layer scales. */
#ifndef PLAIN_H
#define PLAIN_H
#include <stdint.h>

typedef struct {
    int conv, pool; /* pool: average the map first */
    int height, width, inputs, outputs;
    const int8_t* weights; /* [output][input], or [output][ky][kx][input] */
    const int32_t* bias;
    int32_t multiplier; /* of 2^-24 */
} plain_layer;

extern const plain_layer plain_layers[];
extern const int plain_count;

/* The class of one image, rows, columns, channels. */
int plain_run(const uint8_t* pixels);
#endif
