/* Runs the test vectors of real samples, and compares every spike time, every membrane in every step, and the decision. */
#include <stdio.h>

#include "fs_core.h"
#include "fs_vectors.h"

static fs_state state;

/* hash = hash * 0x9E3779B1 + word, over the low and the high half of every membrane; a neuron that fired counts as 0. */
static void hash_membranes(const fs_state *s, int step, void *data) {
    uint32_t *hash = (uint32_t *)data;
    int32_t n;
    (void)step;
    for (n = 0; n < FS_NEURONS; ++n) {
        const uint64_t v = s->times[n] == FS_SILENT ? (uint64_t)(int64_t)s->v[n] : 0;
        *hash = *hash * UINT32_C(0x9E3779B1) + (uint32_t)(v & UINT32_C(0xFFFFFFFF));
        *hash = *hash * UINT32_C(0x9E3779B1) + (uint32_t)(v >> 32);
    }
}

static int check(int sample, double *operations) {
    uint32_t hash = 1;
    int32_t n, wrong = 0;
    int class_index;
#if FS_VECTOR_PIXELS
    static uint8_t times[FS_SOURCES];
    fs_encode(fs_vector_pixels[sample], times);
    for (n = 0; n < FS_SOURCES; ++n) wrong += times[n] != fs_vector_inputs[sample][n];
#else
    const uint8_t *times = fs_vector_inputs[sample];
#endif
    class_index = fs_run(&state, times, hash_membranes, &hash);
    for (n = 0; n < FS_NEURONS; ++n) wrong += state.times[n] != fs_vector_times[sample][n];
    if (hash != fs_vector_hashes[sample]) ++wrong;
    if (class_index != fs_vector_classes[sample]) ++wrong;
    if (state.operations != fs_vector_operations[sample]) ++wrong;
    *operations += state.operations;
    if (wrong)
        printf("sample %d: %ld values differ; class %d, expected %d\n", sample, (long)wrong, class_index,
               (int)fs_vector_classes[sample]);
    return wrong == 0;
}

int main(void) {
    double operations = 0;
    int sample, good = 0;
    for (sample = 0; sample < FS_VECTORS; ++sample) good += check(sample, &operations);
    printf("equal to the emulator: %d of %d samples\n", good, FS_VECTORS);
    printf("flash: %ld bytes of tables, %ld of descriptions of the layers\n", (long)FS_TABLE_BYTES, (long)sizeof(fs_layers));
    printf("RAM: %ld bytes of state\n", (long)sizeof(fs_state));
    printf("synaptic operations per sample: %.1f\n", operations / FS_VECTORS);
    return good == FS_VECTORS ? 0 : 1;
}
