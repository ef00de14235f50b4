// The plan of a layer: which algorithm and which block sizes its three passes use. Every threshold of the layer kernels stands
// here; the kernels obey what plan_layer says, and `firstspike.explain` prints it.
//
// A result's bits depend on the plan's algorithms and on the order of its sums, so none of these depends on the number of
// threads: that decides only how many tasks there are.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <variant>
#include <vector>

#include "../../core/layer.h"
#include "tiles.h"

namespace firstspike {

// Fields of at most so many units are sorted whole (spikes_by_field.h); larger ones are summed tap by tap.
constexpr int64_t kMostFieldUnits = 64;
// Of a kernel row, at most so many neighbouring taps go together, each with sums of its own in registers, ...
constexpr int kMostTaps = 3;
// ... in no more than twelve of them.
constexpr int taps_in_registers(int vectors) { return std::clamp(12 / vectors, 1, kMostTaps); }
// So many steps without events are passed over at once, where nothing happens in them.
constexpr int64_t kSilentSteps = 8;
// Up to so many steps, the entries of a group are found by comparing them with each step; then by a look at each entry.
constexpr int64_t kCompareEntries = 16;

// How the spikes of a layer's input are listed for its forward pass.
enum class SpikeLists {
    by_sample,  // a layer with one site: all spikes of a sample, by step
    by_field,   // a convolution with small fields: the spikes under each site, by step
    by_line,    // other convolutions: the spikes of each line of cells, by step, then by cell
};

// Sums over neighbouring places (sites or cells), [place][step][vectors], for tiles of 1 to kTileVecs vectors.
struct SumBlocks {
    std::array<int64_t, kTileVecs> places;  // whose sums lie in L2 at once
    std::array<int64_t, kTileVecs> taps;    // whose weights lie in L1 at once
    int widest;                             // vectors of the layer's first tile

    int64_t places_of(int vectors) const { return places[static_cast<size_t>(vectors - 1)]; }
    int64_t taps_of(int vectors) const { return taps[static_cast<size_t>(vectors - 1)]; }
};

// A line is a sample of a layer with one site; of other layers a line of sites (forward, dL/dW) or of cells (dL/ds) of a sample.
struct ForwardPlan {
    SpikeLists lists;
    bool compare_steps;      // the units are compared with each step, else counted
    bool pack_whole;         // the panel is packed at once, else tile by tile by the tasks
    int64_t lines_per_list;  // by_sample: lines of a task that makes lists
    int64_t lines_per_task;
    int64_t tasks;   // by_sample: of each tile so many as there are blocks of lines
    SumBlocks sums;  // by_line
};

struct InputGradientPlan {
    bool linear;      // one site
    bool join_tiles;  // linear: a sample's entries in one list, else one for each tile of outputs, whose weights stay in L1
    int64_t lines_per_task;  // of one tile of one cell (linear, at most), or of all tiles
    int64_t tasks;           // linear: at least
    SumBlocks sums;

    // Linear: lines of a task, whose sums of so many steps are kept at once.
    int64_t lines_at(int64_t steps) const;
};

enum class WeightSums { linear, convolution, small_field };

struct WeightGradientPlan {
    WeightSums sums;
    int64_t samples_per_table;   // linear: samples that share a table of dL/dX
    int64_t channels_per_block;  // whose sums are kept at once (linear) or made by a task (convolution)
    int64_t kernel_rows;         // convolution: of a task; else all
    int64_t parts;               // linear: of a tile's blocks of channels; else of the lines, each with sums of its own
    int64_t tasks;

    // Convolution: tasks that share a part of a tile.
    int64_t slices(const Layer&) const;
};

struct Plan {
    ForwardPlan forward;
    InputGradientPlan input_gradient;
    WeightGradientPlan weight_gradient;
};

Plan plan_layer(const Layer&, int threads);

// Threads for packing so many weights.
int packing_threads(int64_t weights, int threads);
// Places whose sums of so many steps lie in L2 at once.
int64_t places_in_l2(int vectors, int64_t steps);

// The plan in words and numbers.
using Fact = std::pair<const char*, std::variant<bool, int64_t, const char*>>;
std::vector<Fact> facts(const ForwardPlan&);
std::vector<Fact> facts(const InputGradientPlan&);
std::vector<Fact> facts(const WeightGradientPlan&);

// Writes a pass that runs, and its plan, to stderr if the environment variable FIRSTSPIKE_VERBOSE is 1.
void announce(const char* pass, const std::vector<Fact>&);
bool verbose();
template <class Pass>
void announce(const char* pass, const Pass& plan) {
    if (verbose()) announce(pass, facts(plan));
}

}  // namespace firstspike
