#include "weight_gradient.h"

#include <algorithm>

namespace firstspike {

void write_weight_gradient(const Layer& l, const WeightView& shape, int64_t tile, int64_t first, int64_t end, const float* sum,
                           int64_t channels, float* gradient) {
    const Tiles tiles{l.outputs};
    const int width = tiles.vectors(tile) * kLanes;
    const float scale = l.unit_share();
    gradient += tile * kTile * shape.stride_output + first * shape.stride_channel;
    // Turns squares in registers: `row`, and those after it by `stride`, to neighbouring values from `out` on.
    const auto turn = [&](int64_t row, int64_t stride, float* out) {
        for (int lane = 0; lane < width; lane += kLanes) {
            Vec square[kLanes];
            for (int k = 0; k < kLanes; ++k) square[k] = load(sum + (row + k * stride) * width + lane) * scale;
            transpose(square);
            for (int k = 0; k < kLanes && lane + k < tiles.used(tile); ++k) {
                float* to = out + (lane + k) * shape.stride_output;
                __builtin_prefetch(to + kFetchedToWrite, 1, 2);
                store(to, square[k]);
            }
        }
    };
    const int64_t taps = l.taps();
    int64_t turned = 0;  // channels that are written already
    if (taps == 1 && shape.stride_channel == 1) {
        for (; turned + kLanes <= end - first; turned += kLanes) turn(turned, 1, gradient + turned);
    } else if (shape.stride_x == 1 && shape.stride_y == l.kernel_width && taps >= kLanes) {
        for (; turned < end - first; ++turned)
            for (int64_t t = 0; t < taps; t += kLanes) {
                const int64_t tap = std::min(t, taps - kLanes);  // the last square may cover some taps again
                turn(tap * channels + turned, channels, gradient + turned * shape.stride_channel + tap);
            }
    }
    for (int64_t tap = 0; tap < taps; ++tap)
        for (int64_t c = turned; c < end - first; ++c) {
            float* out = gradient + c * shape.stride_channel + shape.tap(tap, l.kernel_width);
            for (int lane = 0; lane < tiles.used(tile); ++lane)
                out[lane * shape.stride_output] = sum[(tap * channels + c) * width + lane] * scale;
        }
}

void write_bias_gradient(const Layer& l, const Buffer<double>& sums, int64_t parts, float* gradient) {
    if (!gradient) return;
    for (int64_t o = 0; o < l.outputs; ++o) {
        double sum = 0.0;
        for (int64_t part = 0; part < parts; ++part) sum += sums.data()[part * Tiles{l.outputs}.padded() + o];
        gradient[o] = static_cast<float>(sum);
    }
}

void weight_gradient(const Synapses& s, const Neuron& neuron, const OutputGradient& g, const WeightView& shape,
                     float* weight_gradient, float* bias_gradient) {
    const WeightGradientPlan plan = plan_layer(s.layer, s.threads).weight_gradient;
    announce("weight_gradient", plan);
    switch (plan.sums) {
        case WeightSums::linear: return linear_weight_gradient(s, neuron, g, plan, shape, weight_gradient, bias_gradient);
        case WeightSums::convolution:
            return convolution_weight_gradient(s, neuron, g, plan, shape, weight_gradient, bias_gradient);
        case WeightSums::small_field:
            return small_field_weight_gradient(s, neuron, g, plan, shape, weight_gradient, bias_gradient);
    }
}

}  // namespace firstspike
