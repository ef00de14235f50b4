/* Runs the test vectors of real samples, and compares what every neuron does, the membranes or scores, and the decision. */
#include <stdio.h>

#include "fs_core.h"
#include "fs_vectors.h"

static fs_state state;

static int check(int sample, double *operations) {
    int32_t n, wrong = 0;
#if FS_VECTOR_PIXELS
    const int class_index = fs_run(&state, fs_vector_inputs[sample]);
#else
    const int class_index = fs_run_spikes(&state, fs_vector_inputs[sample]);
#endif
#if FS_VECTOR_PIXELS && FS_KEEPS_SOURCES
    for (n = 0; n < FS_SOURCES; ++n) wrong += state.sources[n] != fs_vector_sources[sample][n];
#endif
    for (n = 0; n < FS_NEURONS; ++n) wrong += state.neurons[n] != fs_vector_neurons[sample][n];
#if FS_STEPWISE /* membranes at the end, of neurons that did not fire */
    for (n = 0; n < FS_NEURONS; ++n) wrong += state.neurons[n] == 255 && state.v[n] != fs_vector_membranes[sample][n];
#else
    for (n = 0; n < FS_OUTPUTS; ++n) wrong += state.scores[n] != fs_vector_scores[sample][n];
#endif
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
    printf("operations per sample: %ld multiply-adds of pixels, %.1f synaptic\n", (long)FS_MACS, operations / FS_VECTORS);
    return good == FS_VECTORS ? 0 : 1;
}
