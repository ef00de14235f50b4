#include "plan.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace firstspike {

namespace {

constexpr int64_t kSumsInL2 = 131072;    // bytes of L2 for the sums of a block of places
constexpr int64_t kWeightsInL1 = 24576;  // bytes of L1 for the weights of neighbouring taps
constexpr int64_t kSmallWeight = 16384;  // weights that one thread packs as fast as several

constexpr int64_t kComparedSteps = 16;        // up to here a sample's units are compared with each step
constexpr int64_t kComparedStepsOfARow = 32;  // the same for a line of cells, which only counts by comparing
constexpr int64_t kStepsOfTiles = 16;         // up to here a tile of outputs has some entries per step
constexpr int64_t kSamplesPerList = 32;       // of a task that makes lists, at most
constexpr int64_t kSamplesPerTile = 64;       // that share a tile of weights in cache
constexpr int64_t kSamplesPerTable = 32;      // that share a table of dL/dX
constexpr int64_t kRowsPerBlock = 128;        // weight rows whose sums lie in L2, about
constexpr int64_t kSmallField = kTile;        // fewer weight rows than that are a small field
constexpr int64_t kSummedParts = 8;           // a sum over all lines is made of about so many

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

SumBlocks blocks_of(int64_t neurons, int64_t weights_per_lane, int64_t steps, int64_t most_taps) {
    SumBlocks blocks{{}, {}, Tiles{neurons}.vectors(0)};
    for (int vectors = 1; vectors <= kTileVecs; ++vectors) {
        const int64_t bytes = weights_per_lane * vectors * kLanes * static_cast<int64_t>(sizeof(float));
        blocks.places[static_cast<size_t>(vectors - 1)] = places_in_l2(vectors, steps);
        blocks.taps[static_cast<size_t>(vectors - 1)] = std::clamp<int64_t>(kWeightsInL1 / bytes, 1, most_taps);
    }
    return blocks;
}

// Lines of a task: whole samples where there are enough of them, else so that each thread has some tasks.
int64_t lines_per_task(int64_t batch, int64_t lines_per_sample, int threads) {
    if (batch >= 2 * threads) return lines_per_sample;
    return std::max<int64_t>(1, batch * lines_per_sample / (4 * threads));
}

ForwardPlan plan_forward(const Layer& l, int threads) {
    ForwardPlan plan{};
    const int64_t tiles = Tiles{l.outputs}.number();
    plan.sums = blocks_of(l.outputs, l.channels, l.steps, l.kernel_width);
    if (l.single_site()) {
        plan.lists = SpikeLists::by_sample;
        plan.compare_steps = l.steps <= kComparedSteps;
        plan.lines_per_list = std::clamp<int64_t>(l.batch / (2 * threads), 1, kSamplesPerList);
        plan.lines_per_task = std::clamp<int64_t>(l.batch, 1, kSamplesPerTile);
        plan.tasks = tiles * ceil_div(l.batch, plan.lines_per_task);
        plan.pack_whole = plan.lines_per_task < l.batch;
        return plan;
    }
    const bool small = l.rows() * l.pool * l.pool <= kMostFieldUnits;
    plan.lists = small ? SpikeLists::by_field : SpikeLists::by_map_row;
    plan.compare_steps = !small && l.steps <= kComparedStepsOfARow;
    plan.pack_whole = true;
    plan.lines_per_task = lines_per_task(l.batch, l.out_height(), threads);
    plan.tasks = ceil_div(l.batch * l.out_height(), plan.lines_per_task);
    return plan;
}

InputGradientPlan plan_input_gradient(const Layer& l, int threads) {
    InputGradientPlan plan{};
    plan.linear = l.single_site();
    plan.sums = blocks_of(l.channels, l.outputs, l.steps, kMostTaps);
    if (plan.linear) {
        plan.join_tiles = l.steps > kStepsOfTiles;
        plan.lines_per_task = plan.lines_at(l.steps);
        plan.tasks = l.taps() * Tiles{l.channels}.number() * ceil_div(l.batch, plan.lines_at(1));
    } else {
        plan.join_tiles = true;
        plan.lines_per_task = lines_per_task(l.batch, l.cells_y(), threads);
        plan.tasks = ceil_div(l.batch * l.cells_y(), plan.lines_per_task);
    }
    return plan;
}

WeightGradientPlan plan_weight_gradient(const Layer& l, int threads) {
    WeightGradientPlan plan{};
    const int64_t tiles = Tiles{l.outputs}.number(), lines = l.batch * l.out_height();
    plan.channels_per_block = l.channels;
    plan.samples_per_table = 1;
    if (l.single_site()) {
        plan.sums = WeightSums::linear;
        plan.samples_per_table = kSamplesPerTable;
        // At least a vector of channels, however many taps there are.
        plan.channels_per_block = std::min(l.channels, (kRowsPerBlock / l.taps() + kLanes) / kLanes * kLanes);
        plan.parts = std::clamp<int64_t>(ceil_div(2 * threads, tiles), 1, ceil_div(l.channels, plan.channels_per_block));
        plan.tasks = tiles * plan.parts;
    } else if (l.pool == 1 && l.rows() < kSmallField) {
        plan.sums = WeightSums::small_field;
        plan.parts = std::clamp<int64_t>(lines, 1, kSummedParts);
        plan.tasks = plan.parts;
    } else {
        plan.sums = WeightSums::convolution;
        plan.parts = std::clamp<int64_t>(ceil_div(kSummedParts, tiles), 1, std::max<int64_t>(1, lines));
        plan.tasks = tiles * plan.parts;
    }
    return plan;
}

}  // namespace

int packing_threads(int64_t weights, int threads) { return weights < kSmallWeight ? 1 : threads; }

int64_t places_in_l2(int vectors, int64_t steps) {
    return std::max<int64_t>(8, kSumsInL2 / (steps * vectors * kLanes * static_cast<int64_t>(sizeof(float))));
}

int64_t InputGradientPlan::lines_at(int64_t steps) const { return std::min(places_in_l2(kTileVecs, steps), kSamplesPerTile); }

Plan plan_layer(const Layer& l, int threads) {
    return {plan_forward(l, threads), plan_input_gradient(l, threads), plan_weight_gradient(l, threads)};
}

std::vector<Fact> facts(const ForwardPlan& plan) {
    const char* lists[] = {"by_sample", "by_field", "by_map_row"};
    std::vector<Fact> all{{"lists", lists[static_cast<int>(plan.lists)]},
                          {"compare_steps", plan.compare_steps},
                          {"pack_whole", plan.pack_whole},
                          {"lines_per_task", plan.lines_per_task},
                          {"tasks", plan.tasks}};
    if (plan.lists == SpikeLists::by_map_row) {
        all.emplace_back("sites_in_l2", plan.sums.places_of(plan.sums.widest));
        all.emplace_back("taps_together", plan.sums.taps_of(plan.sums.widest));
    }
    return all;
}

std::vector<Fact> facts(const InputGradientPlan& plan) {
    std::vector<Fact> all{{"algorithm", plan.linear ? "linear" : "convolution"},
                          {"join_tiles", plan.join_tiles},
                          {"lines_per_task", plan.lines_per_task},
                          {"tasks", plan.tasks}};
    if (!plan.linear) {
        all.emplace_back("cells_in_l2", plan.sums.places_of(plan.sums.widest));
        all.emplace_back("taps_together", plan.sums.taps_of(plan.sums.widest));
    }
    return all;
}

std::vector<Fact> facts(const WeightGradientPlan& plan) {
    const char* sums[] = {"linear", "convolution", "small_field"};
    std::vector<Fact> all{{"algorithm", sums[static_cast<int>(plan.sums)]}};
    if (plan.sums == WeightSums::linear) {
        all.emplace_back("samples_per_table", plan.samples_per_table);
        all.emplace_back("channels_per_block", plan.channels_per_block);
    }
    all.emplace_back("parts", plan.parts);
    all.emplace_back("tasks", plan.tasks);
    return all;
}

bool verbose() {
    static const bool wanted = [] {
        const char* const value = std::getenv("FIRSTSPIKE_VERBOSE");
        return value != nullptr && std::strcmp(value, "1") == 0;
    }();
    return wanted;
}

void announce(const char* pass, const std::vector<Fact>& plan) {
    std::string line = std::string("firstspike,cpu,") + pass;
    for (const auto& [name, value] : plan) {
        line += std::string(",") + name + "=";
        if (const bool* flag = std::get_if<bool>(&value))
            line += *flag ? "true" : "false";
        else if (const int64_t* number = std::get_if<int64_t>(&value))
            line += std::to_string(*number);
        else
            line += std::get<const char*>(value);
    }
    std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace firstspike
