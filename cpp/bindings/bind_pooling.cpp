// The spikes that max pooling and earliest pooling leave.
#include "arguments.h"
#include "subjects.h"

namespace firstspike::bindings {

namespace {

int64_t distinct(const MapSizes& sizes, int64_t pool, const Array& times, Threads threads, const Array& times_out) {
    const Patches p = patches_from(sizes, pool);
    return run(distinct_spikes, input<uint8_t>(times, "times", p.units()), p, threads,
               output<uint8_t>(times_out, "times_out", p.units()));
}

void distinct_backward(Steps steps, const MapSizes& sizes, int64_t pool, const Array& gradient, const Array& times,
                       const std::optional<SupportArrays>& support, Threads threads, const Array& gradient_out) {
    const Patches p = patches_from(sizes, pool);
    const Anchor anchor(support, p.sites(), p.channels, steps);
    run(distinct_gradient, input<float>(gradient, "gradient", anchor.size()), input<uint8_t>(times, "times", p.units()), p, steps,
        anchor.support(), threads, output<float>(gradient_out, "gradient_out", anchor.size()));
}

void earliest(const MapSizes& sizes, int64_t pool, const Array& times, Threads threads, const Array& times_out,
              const Array& winner_out) {
    const Patches p = patches_from(sizes, pool, kWidestPool);
    run(earliest_times, input<uint8_t>(times, "times", p.units()), p, threads,
        output<uint8_t>(times_out, "times_out", p.pooled()), output<uint8_t>(winner_out, "winner_out", p.pooled()));
}

py::object earliest_entries(const MapSizes& sizes, int64_t pool, const Array& winner, const SupportArrays& support,
                            Threads threads) {
    const Patches p = patches_from(sizes, pool, kWidestPool);
    return to_python(run(earliest_support, input<uint8_t>(winner, "winner", p.pooled()), p,
                         support_from(support, p.sites(), p.channels, kMaxSteps), threads));
}

}  // namespace

void bind_pooling(py::module_& m) {
    def(m, "distinct_spikes", &distinct, "sizes", "pool", "times", "threads", "times_out");
    def(m, "distinct_gradient", &distinct_backward, "steps", "sizes", "pool", "gradient", "times", "support", "threads",
        "gradient_out");
    def(m, "earliest_times", &earliest, "sizes", "pool", "times", "threads", "times_out", "winner_out");
    def(m, "earliest_support", &earliest_entries, "sizes", "pool", "winner", "support", "threads");
}

}  // namespace firstspike::bindings
