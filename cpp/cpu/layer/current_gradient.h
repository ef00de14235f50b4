// D[t], the gradient that a current of step t receives (E[t] where the current is synaptic), for the sites of a line and one tile
// of neurons: a few distinct values, and a table that says which one a spike meets; or, in a convolution of few steps, all
// values.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>

#include "../../core/neuron.h"
#include "../runtime/scratch.h"
#include "entries.h"
#include "plan.h"

namespace firstspike {

// The lines of sites that share a table: the lines of sites; of a layer with one site, blocks of samples.
struct SiteLines {
    int64_t sites, length;  // all of them, and per line

    SiteLines(const Layer& l, const WeightGradientPlan& plan)
        : sites(l.batch * l.sites()), length(l.single_site() ? plan.samples_per_table : l.out_width()) {}
    int64_t number() const { return (sites + length - 1) / length; }
    int64_t first(int64_t line) const { return line * length; }
    int64_t count(int64_t line) const { return std::min(length, sites - line * length); }
};

// Where the sites of a line lie in the table, and which of them a spike reaches: a spike of a cell of the line's input
// reaches, through a tap's column kx, the site at the position cell + pad_x - kx. For a layer with one site positions are
// samples.
struct Positions {
    int64_t site_stride;  // site i lies at position i * site_stride
    int64_t number;       // of the table's positions, D = 0 where no site lies
    int64_t lead;         // positions before the first

    Positions(const Layer& l, const SiteLines& lines)
        : site_stride(l.single_site() ? 1 : l.stride_x),
          number(l.single_site() ? lines.count(0) : gradient_positions(l)),
          lead(l.single_site() ? 0 : l.kernel_width - 1) {}
};

// D of a line's sites for one tile: its distinct values, N vectors each, and for each position and step where its value begins.
class CurrentGradient {
 public:
    CurrentGradient(const Layer& l, const Neuron& neuron, const SiteLines& lines)
        : layer_(l), neuron_(neuron), lines_(lines), at_(l, lines), dense_(dense_gradient(l)) {
        constant_current_gains(gain_, l.steps, neuron);
    }

    template <int N>
    void build(int64_t line, int64_t tile, const OutputGradient& g, double* bias_sum) {
        if (dense_)
            fill<N>(line, tile, g, bias_sum);
        else if (neuron_.synaptic_decay == 0.0f)
            make<N, false>(line, tile, g, bias_sum);
        else
            make<N, true>(line, tile, g, bias_sum);
    }

    // Whether there is no table: in convolutions of few steps the values of all positions and steps lie one after another.
    bool dense() const { return dense_; }
    // For a tap's column: the table's entry [position of a spike * steps + step] says where in the values its value begins. Dense
    // values lie in the table's order.
    const float* values(int64_t kx = 0) const { return values_.data() + (dense_ ? first(kx) * width_ : 0); }
    const uint32_t* table(int64_t kx) const { return dense_ ? nullptr : table_.data() + first(kx); }

 private:
    int64_t first(int64_t kx) const { return layer_.single_site() ? 0 : (at_.lead + layer_.pad_x - kx) * layer_.steps; }

    template <int N, bool kSynaptic>
    void make(int64_t line, int64_t tile, const OutputGradient& g, double* bias_sum) {
        const int64_t tiles = Tiles{layer_.outputs}.number(), steps = layer_.steps, sites = lines_.count(line);
        constexpr int64_t kWidth = N * kLanes;
        set_zeros(table_, at_.number * steps);
        if (sites > (int64_t{1} << 32) / kWidth / steps - 1)
            throw std::length_error("a line of sites is too long for dL/dW: its width times steps must stay below 2^32 / " +
                                    std::to_string(kWidth));
        values_.reserve((sites * steps + 1) * kWidth);
        std::fill_n(values_.data(), kWidth, 0.0f);
        int64_t used = kWidth;
        Vec bias[N] = {};
        for (int64_t i = 0; i < sites; ++i) {
            entries_.list(g, (lines_.first(line) + i) * tiles + tile, steps);
            uint32_t* table = table_.data() + (at_.lead + i * at_.site_stride) * steps;
            int64_t value = 0;
            Vec d[N] = {}, e[N] = {};
            for (int64_t t = steps - 1; t >= 0; --t) {
                if (entries_.count(t) > 0 || (value != 0 && (kSynaptic || neuron_.decay != 1.0f))) {
                    add_entries(d, bias, entries_.lanes(t), entries_.direct(t), gain_[t]);
                    if constexpr (kSynaptic) unrolled<N>(FIRSTSPIKE_BODY(k) { e[k] = fade(e[k], neuron_) + d[k]; });
                    const auto& met = kSynaptic ? e : d;
                    value = used;
                    unrolled<N>(FIRSTSPIKE_BODY(k) { store(values_.data() + value + k * kLanes, met[k]); });
                    used += kWidth;
                }
                table[t] = static_cast<uint32_t>(value);
            }
        }
        for (int64_t k = 0; k < kWidth; ++k) bias_sum[k] += bias[k / kLanes][k % kLanes];
    }

    // Where no site lies the values stay 0; `direct` of a site is set to 0 again as it is read.
    template <int N>
    void fill(int64_t line, int64_t tile, const OutputGradient& g, double* bias_sum) {
        const int64_t tiles = Tiles{layer_.outputs}.number(), steps = layer_.steps, sites = lines_.count(line);
        constexpr int64_t kWidth = N * kLanes;
        if (width_ == 0) {
            width_ = kWidth;
            set_zeros(values_, at_.number * steps * kWidth);
            set_zeros(direct_, steps * kWidth);
        }
        float* const direct = direct_.data();
        const Neuron neuron = neuron_;
        Vec bias[N] = {};
        for (int64_t i = 0; i < sites; ++i) {
            const int64_t group = (lines_.first(line) + i) * tiles + tile, end = g.support.offset[group + 1];
            for (int64_t e = g.support.offset[group]; e < end; e += kLanes) {
                const Vec some = direct_at(g, e, end);
                for (int k = 0; k < kLanes && e + k < end; ++k)
                    direct[g.support.step[e + k] * kWidth + g.support.lane[e + k]] = some[k];
            }
            float* const values = values_.data() + (at_.lead + i * at_.site_stride) * steps * kWidth;
            Vec d[N] = {}, met[N] = {};
            for (int64_t t = steps - 1; t >= 0; --t)
                unrolled<N>(FIRSTSPIKE_BODY(k) {
                    const int64_t at = t * kWidth + k * kLanes;
                    const Vec now = load(direct + at);
                    store(direct + at, Vec{});
                    d[k] = leak(d[k], neuron) + now;
                    bias[k] += now * gain_[t];
                    met[k] = neuron.synaptic_decay == 0.0f ? d[k] : fade(met[k], neuron) + d[k];
                    store(values + at, met[k]);
                });
        }
        for (int64_t k = 0; k < kWidth; ++k) bias_sum[k] += bias[k / kLanes][k % kLanes];
    }

    template <class T>
    static void set_zeros(Buffer<T>& buffer, int64_t size) {
        buffer.reserve(size);
        std::fill_n(buffer.data(), size, T{});
    }

    // One step back: `direct` of the lanes that have an entry, in their order, onto the decayed sum.
    template <int N>
    FIRSTSPIKE_INLINE void add_entries(Vec (&d)[N], Vec (&bias)[N], uint64_t lanes, const float* entries, float gain) const {
        unrolled<N>(FIRSTSPIKE_BODY(k) {
            const Vec direct = direct_of_lanes(lanes, entries, k);
            d[k] = leak(d[k], neuron_) + direct;
            bias[k] += direct * gain;
        });
    }

    Layer layer_;
    Neuron neuron_;
    SiteLines lines_;
    Positions at_;
    bool dense_;
    int64_t width_ = 0;  // of dense values, per step
    EntriesByStep entries_;
    Buffer<float> values_, direct_;
    Buffer<uint32_t> table_;
    float gain_[kMaxSteps];  // of the bias, which enters in every step
};

}  // namespace firstspike
