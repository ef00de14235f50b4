// dL/dW[o, c, ky, kx] = sum over samples and sites of dL/dcurrent[site, o] data[cell under the site's tap, c].
//
// The samples are cut into parts, whose number depends on the batch alone; a part's sums are made by one thread and the parts
// added in their order. For a sample, some weight rows (tap and channel) of some outputs stay in registers over all of its sites.
#include <algorithm>
#include <vector>

#include "../runtime/parallel.h"
#include "plan.h"
#include "synapses.h"

namespace firstspike {

namespace {

// A sample's data with its padding, [padded height, padded width, channels], so that every tap of every site lies inside.
class Padded {
 public:
    explicit Padded(const Layer& l)
        : l_(l), width_(l.width + 2 * l.pad_x), size_((l.height + 2 * l.pad_y) * width_ * l.channels), data_(size_) {
        std::fill_n(data_.data(), size_, 0.0f);
        for (int64_t tap = 0; tap < l.taps(); ++tap)
            for (int64_t c = 0; c < l.channels; ++c)
                offset_.push_back((tap / l.kernel_width * width_ + tap % l.kernel_width) * l.channels + c);
    }

    void fill(const float* sample) {
        const int64_t line = l_.width * l_.channels;
        for (int64_t y = 0; y < l_.height; ++y)
            std::copy_n(sample + y * line, line, data_.data() + ((y + l_.pad_y) * width_ + l_.pad_x) * l_.channels);
    }
    // Where the taps of a site begin.
    const float* site(int64_t y, int64_t x) const {
        return data_.data() + (y * l_.stride_y * width_ + x * l_.stride_x) * l_.channels;
    }
    // Of each weight row, from there.
    const int64_t* offset(int64_t row) const { return offset_.data() + row; }

 private:
    const Layer& l_;
    int64_t width_, size_;
    Buffer<float> data_;
    std::vector<int64_t> offset_;
};

// Some outputs of a site, from `at` on.
template <int N, bool kWhole>
FIRSTSPIKE_INLINE void load_outputs(Vec (&g)[N], const float* at, int64_t used) {
    unrolled<N>(FIRSTSPIKE_BODY(n) { g[n] = kWhole ? load(at + n * kLanes) : load_some(at + n * kLanes, used - n * kLanes); });
}

// sum[r] += gradient * data under row r, over all sites of a sample, for R rows and N vectors of outputs.
template <int R, int N, bool kWhole>
void add_rows_of_sample(const Layer& l, const Padded& data, const int64_t* offset, const float* gradient, int64_t used,
                        float* sum, int64_t row_stride) {
    Vec v[R * N] = {};
    for (int64_t y = 0; y < l.out_height(); ++y)
        for (int64_t x = 0; x < l.out_width(); ++x) {
            const float* const under = data.site(y, x);
            Vec g[N];
            load_outputs<N, kWhole>(g, gradient + (y * l.out_width() + x) * l.outputs, used);
            unrolled<R>(FIRSTSPIKE_BODY(r) {
                const Vec value = splat(under[offset[r]]);
                unrolled<N>(FIRSTSPIKE_BODY(n) { v[r * N + n] += value * g[n]; });
            });
        }
    for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n) {
            float* const to = sum + r * row_stride + n * kLanes;
            store(to, load(to) + v[r * N + n]);
        }
}

template <int N, bool kWhole>
void add_bias_of_sample(const Layer& l, const float* gradient, int64_t used, float* sum) {
    Vec v[N] = {};
    for (int64_t site = 0; site < l.sites(); ++site) {
        Vec g[N];
        load_outputs<N, kWhole>(g, gradient + site * l.outputs, used);
        unrolled<N>(FIRSTSPIKE_BODY(n) { v[n] += g[n]; });
    }
    for (int n = 0; n < N; ++n) store(sum + n * kLanes, load(sum + n * kLanes) + v[n]);
}

// The sums of a part, [rows + 1][padded outputs]; the last row is the bias's.
template <int N, bool kWhole>
void add_sample(const Layer& l, const Padded& data, const float* gradient, int64_t used, float* sums, int64_t row_stride) {
    const auto rows = [&]<int R>(int64_t row) {
        add_rows_of_sample<R, N, kWhole>(l, data, data.offset(row), gradient, used, sums + row * row_stride, row_stride);
        return row + R;
    };
    int64_t row = 0;
    while (row + kDirectRows <= l.rows()) row = rows.template operator()<kDirectRows>(row);
    if (row + 4 <= l.rows()) row = rows.template operator()<4>(row);
    if (row + 2 <= l.rows()) row = rows.template operator()<2>(row);
    if (row < l.rows()) rows.template operator()<1>(row);
    add_bias_of_sample<N, kWhole>(l, gradient, used, sums + l.rows() * row_stride);
}

// The same for all outputs.
void add_sample(const Layer& l, const Padded& data, const float* gradient, float* sums, int64_t row_stride) {
    for (int64_t o = 0; o < l.outputs; o += 2 * kLanes) {
        const int64_t used = l.outputs - o;
        if (used >= 2 * kLanes)
            add_sample<2, true>(l, data, gradient + o, used, sums + o, row_stride);
        else if (used > kLanes)
            add_sample<2, false>(l, data, gradient + o, used, sums + o, row_stride);
        else
            add_sample<1, false>(l, data, gradient + o, used, sums + o, row_stride);
    }
}

}  // namespace

void direct_convolution_gradient(const Layer& l, const float* data, const float* gradient, int threads, float* weight_gradient,
                                 float* bias_gradient) {
    const int64_t parts = std::min(kDirectParts, l.batch), rows = l.rows();
    const int64_t stride = (l.outputs + 2 * kLanes - 1) / (2 * kLanes) * (2 * kLanes), size = (rows + 1) * stride;
    Buffer<float> sums(std::max<int64_t>(parts, 1) * size);
    std::fill_n(sums.data(), std::max<int64_t>(parts, 1) * size, 0.0f);
    parallel_for(parts, threads, [&](int64_t part) {
        Padded sample(l);
        for (int64_t b = l.batch * part / parts; b < l.batch * (part + 1) / parts; ++b) {
            sample.fill(data + b * l.units());
            add_sample(l, sample, gradient + b * l.sites() * l.outputs, sums.data() + part * size, stride);
        }
    });
    for (int64_t part = 1; part < parts; ++part)
        for (int64_t i = 0; i < size; ++i) sums[i] += sums[part * size + i];
    for (int64_t row = 0; row < rows; ++row)
        for (int64_t o = 0; o < l.outputs; ++o)
            weight_gradient[(o * l.channels + row % l.channels) * l.taps() + row / l.channels] = sums[row * stride + o];
    if (bias_gradient != nullptr) std::copy_n(sums.data() + rows * stride, l.outputs, bias_gradient);
}

}  // namespace firstspike
