#include "plan.h"

#include <algorithm>
#include <cstdlib>

namespace firstspike {

namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A threshold, or in its place what benchmarks/thresholds.py sets to measure both sides of it.
int64_t measured(const char* variable, int64_t threshold) {
    const char* const value = std::getenv(variable);
    return value ? std::atoll(value) : threshold;
}

int64_t small_field(const Layer& l) {
    const int64_t rows = dense_gradient(l) ? kSmallFieldDense : kSmallFieldSparse;
    return std::min<int64_t>(kTile, measured("FIRSTSPIKE_SMALL_FIELD", rows));
}

// most_taps(vectors): taps that may go together.
template <class MostTaps>
SumBlocks blocks_of(int64_t neurons, int64_t weights_per_lane, int64_t steps, MostTaps&& most_taps) {
    SumBlocks blocks{{}, {}, Tiles{neurons}.vectors(0)};
    for (int vectors = 1; vectors <= kTileVecs; ++vectors) {
        const int64_t bytes = weights_per_lane * vectors * kLanes * static_cast<int64_t>(sizeof(float));
        blocks.positions[static_cast<size_t>(vectors - 1)] = positions_in_l2(vectors, steps);
        blocks.taps[static_cast<size_t>(vectors - 1)] = std::clamp<int64_t>(kWeightsInL1 / bytes, 1, most_taps(vectors));
    }
    return blocks;
}

// Tasks that a pass should have: some per thread, so that they even out, if each is worth it.
int64_t wanted_tasks(const Layer& l, int threads) {
    const double work = static_cast<double>(l.batch * l.sites()) * static_cast<double>(l.rows() * l.pool * l.pool) *
                        static_cast<double>(Tiles{l.outputs}.padded());
    return std::max<int64_t>(1, std::min<int64_t>(2 * threads, static_cast<int64_t>(std::min(work / kLeastWork, 1e6))));
}

// Lines of a task: whole samples where there are enough of them, else so that each thread has some tasks.
int64_t lines_per_task(int64_t batch, int64_t lines_per_sample, int threads) {
    if (batch >= 2 * threads) return lines_per_sample;
    return std::max<int64_t>(1, batch * lines_per_sample / (4 * threads));
}

ForwardPlan plan_forward(const Layer& l, int threads) {
    ForwardPlan plan{};
    const int64_t tiles = Tiles{l.outputs}.number();
    plan.sums = blocks_of(l.outputs, l.channels, l.steps, [&](int) { return l.kernel_width; });
    if (l.single_site()) {
        plan.lists = SpikeLists::by_sample;
        plan.compare_steps = l.steps <= kComparedSteps;
        plan.lines_per_list = std::clamp<int64_t>(l.batch / (2 * threads), 1, kSamplesPerList);
        const int64_t blocks = ceil_div(wanted_tasks(l, threads), tiles);
        plan.lines_per_task = std::clamp<int64_t>(l.batch / blocks, 1, kSamplesPerTile);
        plan.tasks = tiles * ceil_div(l.batch, plan.lines_per_task);
        plan.pack_whole = plan.lines_per_task < l.batch;
        return plan;
    }
    const bool small = l.rows() * l.pool * l.pool <= kMostFieldUnits;
    plan.lists = small ? SpikeLists::by_field : SpikeLists::by_line;
    plan.compare_steps = !small && l.steps <= kComparedStepsOfALine;
    plan.pack_whole = true;
    plan.lines_per_task = lines_per_task(l.batch, l.out_height(), threads);
    plan.tasks = ceil_div(l.batch * l.out_height(), plan.lines_per_task);
    return plan;
}

InputGradientPlan plan_input_gradient(const Layer& l, int threads) {
    if (!l.single_site()) {
        const int64_t lines = lines_per_task(l.batch, l.cells_y(), threads);
        return ConvolutionInputPlan{lines, ceil_div(l.batch * l.cells_y(), lines),
                                    blocks_of(l.channels, l.outputs, l.steps, taps_in_registers)};
    }
    const int64_t across = l.taps() * Tiles{l.channels}.number();
    const int64_t samples = std::clamp<int64_t>(l.batch / ceil_div(wanted_tasks(l, threads), across), 1, kSamplesPerTile);
    return LinearInputPlan{l.steps > measured("FIRSTSPIKE_STEPS_OF_TILES", kStepsOfTiles), samples,
                           across * ceil_div(l.batch, samples)};
}

WeightGradientPlan plan_weight_gradient(const Layer& l, int threads) {
    WeightGradientPlan plan{};
    const int64_t tiles = Tiles{l.outputs}.number(), lines = std::max<int64_t>(1, l.batch * l.out_height());
    const int64_t wanted = wanted_tasks(l, threads);
    plan.channels_per_block = l.channels;
    plan.kernel_rows = l.kernel_height;
    plan.samples_per_table = 1;
    if (l.single_site()) {
        plan.sums = WeightSums::linear;
        plan.samples_per_table = kSamplesPerTable;
        // No sum depends on how the channels are divided. Few taps are written a vector of channels at once, many one by one.
        const int64_t parts = ceil_div(wanted, tiles), in_l2 = (kRowsPerBlock / l.taps() + kLanes) / kLanes * kLanes;
        const int64_t unit = l.taps() >= kLanes ? 1 : kLanes;
        const int64_t share = std::max<int64_t>(l.channels / parts / unit, 1) * unit;
        plan.channels_per_block = std::min({l.channels, in_l2, share});
        plan.parts = std::clamp<int64_t>(parts, 1, ceil_div(l.channels, plan.channels_per_block));
        plan.tasks = tiles * plan.parts;
    } else if (l.pool == 1 && l.rows() < small_field(l)) {
        plan.sums = WeightSums::small_field;
        const int64_t sums = l.outputs * (l.rows() / kLanes + 1) * kLanes;
        plan.parts = std::min(lines, std::clamp(kSmallSums / sums, kSummedParts, kMostSmallParts));
        plan.tasks = plan.parts;
    } else {
        plan.sums = WeightSums::convolution;
        plan.parts = std::min(lines, ceil_div(kSummedParts, tiles));
        // With many threads a task makes the sums of some kernel rows and channels only; that changes no sum.
        const int64_t slices = ceil_div(wanted, tiles * plan.parts);
        plan.kernel_rows = ceil_div(l.kernel_height, slices);
        const int64_t blocks = ceil_div(slices, ceil_div(l.kernel_height, plan.kernel_rows));
        plan.channels_per_block = std::max<int64_t>(1, l.channels / blocks);
        plan.tasks = tiles * plan.parts * plan.slices(l);
    }
    return plan;
}

}  // namespace

int packing_threads(int64_t weights, int threads) { return weights < kSmallWeight ? 1 : threads; }

bool dense_gradient(const Layer& l) {
    return !l.single_site() && l.steps <= kDenseSteps && gradient_positions(l) * l.steps * kTile <= kDenseValues;
}

int64_t positions_in_l2(int vectors, int64_t steps) {
    return std::max<int64_t>(8, kSumsInL2 / (steps * vectors * kLanes * static_cast<int64_t>(sizeof(float))));
}

int64_t LinearInputPlan::samples_at(int64_t steps) const { return std::min(positions_in_l2(kTileVecs, steps), most_samples); }

int64_t WeightGradientPlan::slices(const Layer& l) const {
    return ceil_div(l.kernel_height, kernel_rows) * ceil_div(l.channels, channels_per_block);
}

Plan plan_layer(const Layer& l, int threads) {
    return {plan_forward(l, threads), plan_input_gradient(l, threads), plan_weight_gradient(l, threads)};
}

}  // namespace firstspike
