// dL/dW and dL/dbias of a convolution with small fields, such as a net's first layer on images of one channel.
//
// dW[o, r] = sum over samples, sites and support entries of direct[o, t] * trace[r, t], where trace[r, t] is what row r's spike
// has left of itself at step t: decay^(t - time), and 0 before; with a synaptic current, what its current has brought so far. The
// bias is one more row, with a spike in every step.
//
// Here the traces of a site fit in a vector or a few for each step, so every entry adds to its neuron's sums at once. Distinct
// vectors of D (current_gradient.h) would cost more to make than they save: hardly a spike uses one.

#include <algorithm>
#include <vector>

#include "../runtime/parallel.h"
#include "tiles.h"
#include "weight_gradient.h"

namespace firstspike {

namespace {

inline Vec one_where(Words bits) { return reinterpret_cast<Vec>(bits & reinterpret_cast<Words>(splat(1.0f))); }

// The traces of the sites of a line. Without a leak a trace is one from its spike on; with one, with a synaptic current, or where
// a site has more entries than there are steps, they are looked up in a table.
template <int R>
class Traces {
 public:
    static constexpr int64_t kWidth = R * kLanes;

    Traces(const Layer& l, const Neuron& neuron)
        : layer_(l),
          neuron_(neuron),
          leaky_(neuron.decay != 1.0f || neuron.synaptic_decay != 0.0f),
          times_(l.out_width() * kWidth),
          table_(l.steps * kWidth) {
        std::fill_n(times_.data(), l.out_width() * kWidth, static_cast<float>(kSilent));
        always_[l.rows() / kLanes][l.rows() % kLanes] = 1.0f;
    }

    void start_line(const uint8_t* sample, int64_t y) {
        const Layer& l = layer_;
        const int64_t width = l.out_width();
        float* time = times_.data();
        for (int64_t ky = 0; ky < l.kernel_height; ++ky) {
            const int64_t from_y = cell_under(y, ky, l.stride_y, l.pad_y);
            const bool inside = from_y >= 0 && from_y < l.height;
            const uint8_t* line = sample + (inside ? from_y * l.width * l.channels : 0);
            for (int64_t kx = 0; kx < l.kernel_width; ++kx) {
                // The sites at which the tap lies on the map; at the others it is silent.
                const int64_t left = l.left(0) + kx, room = l.width - left;
                const int64_t first = left < 0 ? (-left + l.stride_x - 1) / l.stride_x : 0;
                const int64_t end = room > 0 ? std::min(width, (room + l.stride_x - 1) / l.stride_x) : 0;
                for (int64_t c = 0; c < l.channels; ++c, ++time)
                    for (int64_t x = first; x < end; ++x)
                        time[x * kWidth] = inside ? line[(left + x * l.stride_x) * l.channels + c] : static_cast<float>(kSilent);
            }
        }
    }

    // Goes to site x, which has so many entries.
    void start_site(int64_t x, int64_t entries) {
        for (int k = 0; k < R; ++k) time_[k] = load(times_.data() + x * kWidth + k * kLanes);
        tabled_ = leaky_ || entries > layer_.steps;
        if (!tabled_) return;
        if (neuron_.synaptic_decay != 0.0f) return tabulate_currents();
        Vec trace[R] = {};
        for (int64_t t = 0; t < layer_.steps; ++t)
            for (int k = 0; k < R; ++k) {
                trace[k] = !leaky_
                               ? without_leak(t, k)
                               : leak(trace[k], neuron_) +
                                     one_where(reinterpret_cast<Words>(time_[k] == splat(static_cast<float>(t)))) + always_[k];
                store(table_.data() + t * kWidth + k * kLanes, trace[k]);
            }
    }

    // Vector k of the site's traces at a step.
    FIRSTSPIKE_INLINE Vec at(int step, int k) const {
        return tabled_ ? load(table_.data() + step * kWidth + k * kLanes) : without_leak(step, k);
    }

 private:
    void tabulate_currents() {
        Vec trace[R] = {}, current[R] = {};
        for (int64_t t = 0; t < layer_.steps; ++t)
            for (int k = 0; k < R; ++k) {
                const Vec spike = one_where(reinterpret_cast<Words>(time_[k] == splat(static_cast<float>(t))));
                current[k] = fade(current[k], neuron_) + spike + always_[k];
                trace[k] = leak(trace[k], neuron_) + current[k];
                store(table_.data() + t * kWidth + k * kLanes, trace[k]);
            }
    }

    FIRSTSPIKE_INLINE Vec without_leak(int64_t step, int k) const {
        const Vec now = splat(static_cast<float>(step));
        return one_where(reinterpret_cast<Words>(time_[k] <= now)) + always_[k] * (now + 1.0f);
    }

    Layer layer_;
    Neuron neuron_;
    bool leaky_, tabled_ = false;
    Buffer<float> times_, table_;
    Vec time_[R] = {}, always_[R] = {};  // always: one for the bias
};

// The sums of the lines [from, to) of sites: [outputs, R vectors], and the bias, whose lines are added in double precision.
template <int R>
void sum_lines(const Synapses& s, const Neuron& neuron, const OutputGradient& g, int64_t from, int64_t to, float* sum,
               double* bias_sum) {
    const Layer& l = s.layer;
    constexpr int64_t kWidth = R * kLanes;
    const int64_t tiles = Tiles{l.outputs}.number();
    const int64_t* offset = g.support.offset;
    Traces<R> traces(l, neuron);
    for (int64_t line = from; line < to; ++line) {
        traces.start_line(s.times + line / l.out_height() * l.units(), line % l.out_height());
        for (int64_t x = 0; x < l.out_width(); ++x) {
            const int64_t first = (line * l.out_width() + x) * tiles;
            if (offset[first] == offset[first + tiles]) continue;
            traces.start_site(x, offset[first + tiles] - offset[first]);
            for (int64_t tile = 0; tile < tiles; ++tile)
                for (int64_t e = offset[first + tile]; e < offset[first + tile + 1]; ++e) {
                    const Vec direct = splat(g.slope ? g.gradient[e] * g.slope[e] : g.gradient[e]);
                    float* to_sum = sum + (tile * kTile + g.support.lane[e]) * kWidth;
                    for (int k = 0; k < R; ++k)
                        store(to_sum + k * kLanes, load(to_sum + k * kLanes) + traces.at(g.support.step[e], k) * direct);
                }
        }
        for (int64_t o = 0; o < l.outputs; ++o) {
            float& bias = sum[o * kWidth + l.rows()];
            bias_sum[o] += static_cast<double>(bias);
            bias = 0.0f;
        }
    }
}

int vectors_of(const Layer& l) { return static_cast<int>(l.rows() / kLanes + 1); }  // the bias included

}  // namespace

void small_field_weight_gradient(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const WeightGradientPlan& plan,
                                 const WeightView& shape, float* weight_gradient, float* bias_gradient) {
    const Layer& l = s.layer;
    const int64_t lines = l.batch * l.out_height(), width = vectors_of(l) * kLanes, size = l.outputs * width;
    const int64_t parts = plan.parts;
    Buffer<float> sums(parts * size);
    Buffer<double> bias_sums(parts * l.outputs);
    std::fill_n(sums.data(), parts * size, 0.0f);
    std::fill_n(bias_sums.data(), parts * l.outputs, 0.0);
    parallel_for(plan.tasks, s.threads, [&](int64_t part) {
        with_vectors(vectors_of(l), [&](auto vectors) {
            sum_lines<decltype(vectors)::value>(s, neuron, g, lines * part / parts, lines * (part + 1) / parts,
                                                sums.data() + part * size, bias_sums.data() + part * l.outputs);
        });
    });
    for (int64_t part = 1; part < parts; ++part) {
        for (int64_t i = 0; i < size; ++i) sums[i] += sums[part * size + i];
        for (int64_t o = 0; o < l.outputs; ++o) bias_sums[o] += bias_sums[part * l.outputs + o];
    }
    for (int64_t o = 0; o < l.outputs; ++o) {
        for (int64_t r = 0; r < l.rows(); ++r) {
            const int64_t tap = r / l.channels;
            weight_gradient[o * shape.stride_output + r % l.channels * shape.stride_channel + shape.tap(tap, l.kernel_width)] =
                sums[o * width + r];
        }
        if (bias_gradient) bias_gradient[o] = static_cast<float>(bias_sums[o]);
    }
}

}  // namespace firstspike
