/* What both kinds of nets share: rows of weights added to sums, and pixels encoded by a table. */
#ifndef FS_COMMON_H
#define FS_COMMON_H

#include "fs_network.h"

/* Rows of weights that wait to be added to `sums`, each with a factor. */
typedef struct {
    fs_int *sums;
    int32_t at[4];
    fs_int level[4];
    int rows;
} fs_batch;

/* sums[i] += the levels times the weights of four rows, or of one: the inner loop of everything, over the outputs. */
#define FS_ADD(type)                                                                                        \
    do {                                                                                                    \
        const type *a = (const type *)weights + b->at[0], *c = (const type *)weights + b->at[1];            \
        const type *d = (const type *)weights + b->at[2], *e = (const type *)weights + b->at[3];            \
        if (b->rows == 1)                                                                                   \
            for (i = 0; i < count; ++i) sums[i] += k * a[i];                                                \
        else if (k == 1 && l == 1 && m == 1 && n == 1)                                                      \
            for (i = 0; i < count; ++i) sums[i] += (fs_int)a[i] + c[i] + d[i] + e[i];                       \
        else                                                                                                \
            for (i = 0; i < count; ++i) sums[i] += k * a[i] + l * c[i] + m * d[i] + n * e[i];               \
    } while (0)

static void fs_flush(fs_batch *b, const void *weights, int bits, int32_t count) {
    fs_int *sums = b->sums;
    int32_t i;
    int r;
    fs_int k, l, m, n;
    if (b->rows == 0) return;
    for (r = b->rows; r < 4; ++r) b->at[r] = b->at[0], b->level[r] = 0;
    k = b->level[0], l = b->level[1], m = b->level[2], n = b->level[3];
    if (bits == 8) FS_ADD(int8_t);
#if FS_WIDEST == 16 || FS_WIDEST == 32
    else if (bits == 16) FS_ADD(int16_t);
#endif
#if FS_WIDEST == 32
    else if (bits == 32) FS_ADD(int32_t);
#endif
#if FS_NIBBLES
    else /* two weights per byte, the first in the low half */
        for (r = 0; r < b->rows; ++r) {
            const uint8_t *row = (const uint8_t *)weights + b->at[r] / 2;
            const fs_int level = b->level[r];
            for (i = 0; i < count / 2; ++i) {
                sums[2 * i] += level * ((row[i] & 15) ^ 8) - level * 8;
                sums[2 * i + 1] += level * ((row[i] >> 4) ^ 8) - level * 8;
            }
            if (count % 2) sums[count - 1] += level * ((row[count / 2] & 15) ^ 8) - level * 8;
        }
#endif
    b->rows = 0;
}

/* A row, which begins at weight `at` and has `count` weights, times a level. */
static inline void fs_push(fs_batch *b, fs_int *sums, const void *weights, int bits, int32_t at, int32_t count, fs_int level) {
    if (b->rows == 4 || (b->rows && b->sums != sums)) fs_flush(b, weights, bits, count);
    b->sums = sums;
    b->at[b->rows] = at;
    b->level[b->rows++] = level;
}

#if FS_ENCODES
/* Pixels, without the border, to the spike times or levels of the sources. */
static void fs_encode(const uint8_t *pixels, uint8_t *sources) {
    int32_t y, x, c;
    for (y = 0; y < FS_HEIGHT; ++y)
        for (x = 0; x < FS_WIDTH; ++x)
            for (c = 0; c < FS_DEPTH; ++c) {
                const int border = y < FS_BORDER_H || y >= FS_HEIGHT - FS_BORDER_H || x < FS_BORDER_W || x >= FS_WIDTH - FS_BORDER_W;
                const int32_t table = c / (FS_DEPTH / FS_TABLES);
                *sources++ = border ? fs_border[table] : fs_code[table][*pixels];
                pixels += !border;
            }
}
#endif

#endif
