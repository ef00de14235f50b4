// The plan of a layer: which algorithm and which block sizes its passes use; the kernels obey what plan_layer says, and
// `firstspike.explain` prints it. Every threshold and block size of the CPU kernels stands here, but for the store of memory
// (runtime/scratch.cpp) and the width of a tile (tiles.h). Limits of sizes and of numbers stand where they are checked.
//
// `nox -s bench -- --sweep` measures both sides of small fields and kStepsOfTiles on the processor at hand.
//
// A result's bits depend on the plan's algorithms and on the order of its sums, so none of these depends on the number of
// threads: that decides only how many tasks there are. A constant marked (bits) decides on the order of a sum.
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

// Caches
constexpr int64_t kSumsInL2 = 131072;    // bytes of L2 for the sums of a block of positions (bits)
constexpr int64_t kWeightsInL1 = 24576;  // bytes of L1 for the weights of neighbouring taps (bits)
constexpr int64_t kRowsPerBlock = 128;   // linear dL/dW: weight rows whose sums lie in L2, about

// Tasks
constexpr double kLeastWork = 1 << 15;            // additions that are worth a task
constexpr int64_t kSiteTasksPerThread = 4;        // of a pass over sites, at most
constexpr int64_t kSmallWeight = 16384;           // weights that one thread packs or normalizes as fast as several
constexpr int64_t kSmallSites = 4096;             // neurons without synapses that one thread steps as fast as several
constexpr int64_t kNeuronsPerTask = 16384;        // of a pass that acts on each neuron by itself
constexpr int64_t kDenseNeuronsPerTask = 4096;    // the dense neuron, whose state is on the stack
constexpr int64_t kOutputsPerPacking = 16;        // outputs of a task that packs a transposed panel: whole pages of a tap
constexpr int64_t kPackedTogether = 16 * kLanes;  // weights of an output that are packed at a time
constexpr int64_t kEntryLists = 256;              // linear dL/ds: lists of a batch's entries, each with its own memory

// Samples of a layer with one site
constexpr int64_t kSamplesPerList = 32;   // of a task that makes lists, at most
constexpr int64_t kSamplesPerTile = 64;   // that share a tile of weights in cache
constexpr int64_t kSamplesPerTable = 32;  // that share a table of dL/dX (bits)

// Which of two ways
constexpr int64_t kComparedSteps = 16;         // up to here a sample's units are compared with each step, then counted
constexpr int64_t kComparedStepsOfALine = 32;  // the same for a line of cells, which only counts by comparing
constexpr int64_t kCompareEntries = 16;        // the same for the entries of a group
// dL/ds of linear layers: up to here entries are listed by tile of outputs, not by step (bits). With four lanes that never pays.
constexpr int64_t kStepsOfTiles = kLanes > 4 ? 12 : 0;
constexpr int64_t kMostFieldUnits = 64;  // fields of at most so many units are sorted as a whole (bits)
// dL/dW: D of a convolution is a dense table of at most so many steps and floats (bits).
constexpr int64_t kDenseSteps = 16;
constexpr int64_t kDenseValues = 65536;
// dL/dW: weight rows of a small field, fewer than that with a dense table and without (bits); always fewer than a tile.
constexpr int64_t kSmallFieldDense = std::min(kTile, 18);
constexpr int64_t kSmallFieldSparse = std::min(kTile, kLanes == 16 ? 36 : 45);
// dL/dW: units of a cell that fire in the same step are one spike (bits). Without FMA that costs more than it saves.
inline bool counts_together(const Layer& l) { return kLanes > 4 && l.pool == 2; }
constexpr int64_t kLongRow = 256;    // layers of windows: neurons of a row that is not summed, at least
constexpr int64_t kSilentSteps = 8;  // steps without events that are passed over at once

// Registers
constexpr int kMostTaps = 3;  // neighbouring taps of a kernel row that go together, each with sums in registers, ...
// ... in no more than twelve of them (bits).
constexpr int taps_in_registers(int vectors) { return std::clamp(12 / vectors, 1, kMostTaps); }
// Sums of N vectors that go on side by side, so that an addition need not wait for the one before (bits).
template <int N>
constexpr int kAccumulators = N == 1   ? 4
                              : N <= 4 ? 2
                                       : 1;
constexpr int kUnitsAtOnce = 4;           // units of a sample that are listed at once
constexpr int kSitesAtOnce = 2 * kLanes;  // neighbouring sites that go through the sorting network together
constexpr int kWindowVectors = 4;         // layers of windows: vectors of channels that are summed together
constexpr int kDirectRows = 8;            // directly coded convolution: weight rows in registers, at most

// Parts of sums over all sites, each summed separately (bits)
constexpr int64_t kSummedParts = 8;         // dL/dW of a convolution, about
constexpr int64_t kSmallSums = 1 << 18;     // dL/dW with small fields: floats of all parts, about, ...
constexpr int64_t kMostSmallParts = 128;    // ... and how many they are at most
constexpr int64_t kDirectParts = 16;        // dL/dW of a directly coded convolution
constexpr int64_t kShortcutParts = 64;      // dL/dscale of a shortcut, ...
constexpr int64_t kSitesPerSum = 32;        // ... of whose sites so many are summed in single precision
constexpr int64_t kWindowParts = 64;        // layers of windows, ...
constexpr int64_t kRowsPerPart = 256;       // ... of so many rows (of windowed.cpp) at least, ...
constexpr int64_t kRowsPerSum = 32;         // ... of which so many are summed in single precision
constexpr int64_t kNormalizedVectors = 64;  // weight normalisation: vectors summed in single precision

// Nets in integers
constexpr int64_t kHeadLevels = int64_t{1} << 18;   // of the head's maps but the last, of all its samples: a cache's
constexpr int64_t kTailSamples = 64;                // in the tail together, at most
constexpr int64_t kPanelValues = int64_t{1} << 15;  // of the positions that are multiplied together

// Fetching ahead
constexpr int64_t kFetchedToPack = 128;  // weights of an output: they are too few for the processor to see it
constexpr int64_t kFetchedToWrite = 64;  // values of an output's gradient

// Memory of a recorded support (cpu/support.cpp)
constexpr int64_t kShareBefore = 8;        // one group in so many is counted before the number of all entries is estimated
constexpr double kEntryMargin = 1.0 / 32;  // of that number
constexpr double kMostRoom = 4.0 / 3;      // memory that is kept, over what is used; two sizes of blocks (runtime/scratch.cpp)
constexpr int64_t kGroupsPerChunk = 8;     // of the largest size, at least, so that little stays free at the end of a chunk

// How the spikes of a layer's input are listed for its forward pass.
enum class SpikeLists {
    by_sample,  // a layer with one site: all spikes of a sample, by step
    by_field,   // a convolution with small fields: the spikes under each site, by step
    by_line,    // other convolutions: the spikes of each line of cells, by step, then by cell
};

// Sums over neighbouring positions (sites or cells), [position][step][vectors], for tiles of 1 to kTileVecs vectors.
struct SumBlocks {
    std::array<int64_t, kTileVecs> positions;  // whose sums lie in L2 at once
    std::array<int64_t, kTileVecs> taps;       // whose weights lie in L1 at once
    int widest;                                // vectors of the layer's first tile

    int64_t positions_of(int vectors) const { return positions[static_cast<size_t>(vectors - 1)]; }
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

// dL/ds of a layer with one site.
struct LinearInputPlan {
    bool join_tiles;       // a sample's entries are in one list, else in one for each tile of outputs, whose weights stay in L1
    int64_t most_samples;  // of a task, for one tile of one cell
    int64_t fewest_tasks;  // if each has so many samples

    // Samples of a task, whose sums of so many steps lie in L2 at once.
    int64_t samples_at(int64_t steps) const;
};

// dL/ds of other layers.
struct ConvolutionInputPlan {
    int64_t lines_per_task;  // lines of cells, all their tiles
    int64_t tasks;
    SumBlocks sums;
};

using InputGradientPlan = std::variant<LinearInputPlan, ConvolutionInputPlan>;

enum class WeightSums { linear, convolution, small_field };

struct WeightGradientPlan {
    WeightSums sums;
    int64_t samples_per_table;   // linear: samples that share a table of dL/dX
    int64_t channels_per_block;  // whose sums are kept at once (linear) or made by a task (convolution)
    int64_t kernel_rows;         // convolution: of a task; else all
    int64_t parts;               // linear: of a tile's blocks of channels; else of the lines, each summed separately
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

// Tasks of a pass over sites; few enough that each has work worth its buffers.
constexpr int64_t site_tasks(int64_t sites, int threads) {
    return std::clamp<int64_t>(sites, 1, kSiteTasksPerThread * std::max(threads, 1));
}
// Threads for packing so many weights.
int packing_threads(int64_t weights, int threads);
// Positions whose sums of so many steps lie in L2 at once.
int64_t positions_in_l2(int vectors, int64_t steps);
// dL/dW of a convolution: positions of a line's table of D, and whether it is dense.
inline int64_t gradient_positions(const Layer& l) { return l.cells_x() + 2 * l.pad_x + 2 * l.kernel_width - 1; }
bool dense_gradient(const Layer& l);

// A plan in words and numbers, for `firstspike.explain` and FIRSTSPIKE_VERBOSE (plan_facts.cpp).
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
