// dL/ds of a layer with one site.
#include <algorithm>
#include <vector>

#include "../runtime/parallel.h"
#include "input_gradient.h"

namespace firstspike {

namespace {
constexpr int64_t kParts = 256;  // of a batch: each has its own memory for support entries
}

// Every tile of every cell of a layer with one site. A block of samples shares a cell's weights, those of one tile of the outputs
// after the other: they lie in L1 while the block's h, which is read and written once per list and step, lies in L2. With many
// steps a tile has hardly an entry per step, and its reading and writing would cost more than that saves: there the tiles' lists
// are joined.
void linear_input_gradient(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const InputGradientPlan& plan,
                           const TransposedPanel& panel, const InputTarget& output) {
    const Layer& l = s.layer;
    const Tiles tiles{l.channels};
    const int64_t sources = Tiles{l.outputs}.number(), joined = plan.join_tiles ? sources : 1, lists = sources / joined;
    const int64_t together = (l.batch + kParts - 1) / kParts;  // samples of a part
    std::vector<DirectByStep> parts(static_cast<size_t>(together == 0 ? 0 : (l.batch + together - 1) / together));
    parallel_for(static_cast<int64_t>(parts.size()), s.threads, [&](int64_t i) {
        DirectByStep& part = parts[static_cast<size_t>(i)];
        const int64_t first = i * together, end = std::min(first + together, l.batch);
        part.start(l, g, first * sources, end * sources);
        for (int64_t list = 0; list < (end - first) * lists; ++list) part.list(g, first * sources + list * joined, joined, list);
    });
    Steps steps{neuron.decay == 1.0f ? l.steps - 1 : 0, l.steps};
    for (int64_t list = 0; list < l.batch * lists && steps.first > 0; ++list) {
        const DirectByStep& part = parts[static_cast<size_t>(list / lists / together)];
        steps.first = std::min(steps.first, part.first_step(list % (together * lists)));
    }
    const int64_t block = plan.lines_at(steps.number());
    const int64_t blocks = (l.batch + block - 1) / block;
    parallel_for(l.taps() * tiles.number() * blocks, s.threads, [&](int64_t task) {
        const int64_t first = task % blocks * block, end = std::min(first + block, l.batch);
        const int64_t tile = task / blocks % tiles.number(), cell = task / blocks / tiles.number();
        with_vectors(tiles.vectors(tile), [&](auto vectors) {
            constexpr int N = decltype(vectors)::value;
            Buffer<float> scratch;
            const float* weights = panel.tile(tile) + cell * l.outputs * N * kLanes;
            StepSums<N> h(end - first, steps.number(), scratch);
            for (int64_t i = 0; i < lists; ++i)
                for (int64_t n = first; n < end; ++n)
                    add_list<1>(h, steps, n - first, weights + i * kTile * N * kLanes, 0,
                                parts[static_cast<size_t>(n / together)], n % together * lists + i);
            for (int64_t n = first; n < end; ++n)
                output.template write<N>(n, cell / l.cells_x(), cell % l.cells_x(), tile,
                                         gradient<N>(h.at(n - first), steps, neuron), steps);
        });
    });
}

}  // namespace firstspike
