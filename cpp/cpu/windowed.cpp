// Layers of windows. Sums over sites are made part by part, in single precision within a block of sites, then in double, and
// parts are added in order; there are as many parts for any number of threads.
#include <algorithm>
#include <cmath>

#include "kernels.h"
#include "simd/bytes.h"

namespace firstspike {

namespace {

constexpr int64_t kSummedWidth = kWindowVectors * kLanes;

// Neurons [sites, channels] as rows of several sites, so that a loop along a row is long; the last row may be shorter.
struct Rows {
    int64_t neurons, width;

    Rows(int64_t sites, int64_t channels, int64_t least)
        : neurons(sites * channels), width(channels * std::max<int64_t>(1, std::min(least / channels, sites))) {}
    int64_t number() const { return (neurons + width - 1) / width; }
};

// run(from, number) for all rows, where number is below the width for the last one alone.
template <class Run>
void each_row(const Rows& rows, int threads, Run&& run) {
    const int64_t tasks = std::min(rows.number(), rows.neurons / kNeuronsPerTask + 1);
    parallel_ranges(rows.number(), tasks, threads,
                    [&](int64_t, int64_t row) { run(row * rows.width, std::min(rows.width, rows.neurons - row * rows.width)); });
}

// Parameters of channels are worked out in double precision, a vector of channels at a time.
constexpr int kDoubles = kLanes / 2;
typedef double Doubles __attribute__((vector_size(kLanes * 4)));
typedef float HalfVec __attribute__((vector_size(kLanes * 2)));

Doubles doubles(double x) { return Doubles{} + x; }
// The values of the channels from c on, `other` where there are none.
Doubles channels_from(const float* values, int64_t channels, int64_t c, double other) {
    HalfVec some = HalfVec{} + static_cast<float>(other);
    if (values) std::memcpy(&some, values + c, static_cast<size_t>(std::min<int64_t>(kDoubles, channels - c)) * sizeof(float));
    return __builtin_convertvector(some, Doubles);
}
void write_channels(float* values, int64_t channels, int64_t c, Doubles x) {
    const HalfVec some = __builtin_convertvector(x, HalfVec);
    if (values) std::memcpy(values + c, &some, static_cast<size_t>(std::min<int64_t>(kDoubles, channels - c)) * sizeof(float));
}

// N arrays [channels], repeated along a row, a vector of each side by side.
template <int N>
class RowParameters {
 public:
    RowParameters(int64_t channels, int64_t width)
        : channels_(channels), width_(width), values_((width + kLanes - 1) / kLanes * N * kLanes) {}

    void set(int array, int64_t c, Doubles x) {  // of the channels from c on, a multiple of kDoubles
        const HalfVec some = __builtin_convertvector(x, HalfVec);
        std::memcpy(place(array, c), &some, sizeof some);
    }
    void repeat() {
        for (int64_t i = channels_, c = 0; i < width_; ++i, c = c + 1 < channels_ ? c + 1 : 0)
            for (int array = 0; array < N; ++array) place(0, i)[array * kLanes] = place(0, c)[array * kLanes];
    }
    // The arrays' vectors from this place of a row on, a multiple of kLanes.
    FIRSTSPIKE_INLINE const float* from(int64_t i) const { return values_.data() + i * N; }

 private:
    float* place(int array, int64_t i) { return values_.data() + (i / kLanes * N + array) * kLanes + i % kLanes; }

    int64_t channels_, width_;
    Buffer<float> values_;
};

// Array `array` of those at p, see RowParameters::from.
FIRSTSPIKE_INLINE Vec take(const float* p, int array) { return load(p + array * kLanes); }

// Sums over the sites of two values of each channel: sums[0, channel] and sums[1, channel]. add(at, place, count, a, b) adds to
// the vectors a and b the values of `count` neurons, at most a vector, from number `at` on; they begin at this place of a row of
// `sum_rows`.
template <class Add>
Buffer<double> sums_over_sites(const Rows& rows, int64_t channels, int threads, Add&& add) {
    const int64_t number = rows.number(), width = rows.width;
    const int64_t parts = std::clamp<int64_t>(number / kRowsPerPart, 1, kWindowParts),
                  tiles = (width + kSummedWidth - 1) / kSummedWidth;
    Buffer<double> partial(parts * 2 * width);
    parallel_for(parts * tiles, rows.neurons < kNeuronsPerTask ? 1 : threads, [&](int64_t task) {
        const int64_t part = task / tiles, first = task % tiles * kSummedWidth;
        const int64_t used = std::min(kSummedWidth, width - first), end = number * (part + 1) / parts;
        double* sums = partial.data() + part * 2 * width + first;
        std::fill_n(sums, used, 0.0);
        std::fill_n(sums + width, used, 0.0);
        for (int64_t from = number * part / parts; from < end; from += kRowsPerSum) {
            Vec a[kWindowVectors] = {}, b[kWindowVectors] = {};
            const int64_t to = std::min(from + kRowsPerSum, end);
            if (used == kSummedWidth && to * width <= rows.neurons)
                for (int64_t row = from; row < to; ++row)
                    unrolled<kWindowVectors>(FIRSTSPIKE_BODY(k) {
                        add(row * width + first + k * kLanes, first + k * kLanes, int64_t{kLanes}, a[k], b[k]);
                    });
            else
                for (int64_t row = from; row < to; ++row)
                    unrolled<kWindowVectors>(FIRSTSPIKE_BODY(k) {
                        const int64_t at = row * width + first + k * kLanes;
                        const int64_t left = std::min(used - k * kLanes, rows.neurons - at);
                        if (left > 0) add(at, first + k * kLanes, std::min<int64_t>(left, kLanes), a[k], b[k]);
                    });
            for (int64_t i = 0; i < used; ++i) {
                sums[i] += static_cast<double>(a[i / kLanes][i % kLanes]);
                sums[width + i] += static_cast<double>(b[i / kLanes][i % kLanes]);
            }
        }
    });
    Buffer<double> total(2 * channels + kDoubles);  // read in vectors
    std::fill_n(total.data(), 2 * channels, 0.0);
    for (int64_t part = 0; part < parts; ++part)
        for (int64_t which = 0; which < 2; ++which)
            for (int64_t from = 0; from < width; from += channels)
                for (int64_t c = 0; c < channels; ++c)
                    total[which * channels + c] += partial[(2 * part + which) * width + from + c];
    return total;
}

Rows sum_rows(int64_t sites, int64_t channels) { return {sites, channels, kSummedWidth}; }
Rows long_rows(int64_t sites, int64_t channels) { return {sites, channels, kLongRow}; }

// The parameters of the channels from c on.
struct Channels {
    Doubles center{}, inverse = doubles(1.0), gamma = doubles(1.0), beta, clip;

    Channels(const WindowedNeurons& n, int64_t c)
        : beta(channels_from(n.beta, n.channels, c, 0.0)),
          clip(n.clips == 1 ? doubles(static_cast<double>(n.clip[0])) : channels_from(n.clip, n.channels, c, 1.0)) {
        if (!n.moments) return;
        center = channels_from(n.moments, n.channels, c, 0.0);
        const Doubles variance = channels_from(n.moments + n.channels, n.channels, c, 1.0) + n.eps;
        for (int i = 0; i < kDoubles; ++i) inverse[i] = std::sqrt(variance[i]);
        inverse = 1.0 / inverse;
        gamma = channels_from(n.gamma, n.channels, c, 1.0);
    }
};

FIRSTSPIKE_INLINE Ints read_bytes(const uint8_t* bytes, int64_t count) {
    return reinterpret_cast<Ints>(widen_some(bytes, count));
}
// The levels of the first `count` times, at most a vector.
FIRSTSPIKE_INLINE Ints levels_of(const uint8_t* times, int64_t count, int steps) {
    const Ints t = read_bytes(times, count);
    return t == kSilent ? Ints{} : steps - t;
}

// Firing: of d = z - center, T u + 1/2 is d kScale + kShift, and n is d kInverse.
enum { kCenter, kScale, kShift, kInverse, kFired };

RowParameters<kFired> firing(const WindowedNeurons& n, int64_t width) {
    RowParameters<kFired> f(n.channels, width);
    for (int64_t c = 0; c < n.channels; c += kDoubles) {
        const Channels of(n, c);
        const Doubles slope = static_cast<double>(n.steps) / of.clip;
        f.set(kCenter, c, of.center);
        f.set(kScale, c, slope * of.gamma * of.inverse);
        f.set(kShift, c, slope * of.beta + 0.5);
        f.set(kInverse, c, of.inverse);
    }
    f.repeat();
    return f;
}

// The last bit of a normalised current in bfloat16, as a word: set where u is in [0, 1].
constexpr uint32_t kInside = 1u << 16;

template <bool kRecord>
void fire(const float* z, const RowParameters<kFired>& f, int steps, int64_t neurons, uint8_t* times, Bfloat16* normalized) {
    const Vec half = splat(0.5f), most = splat(static_cast<float>(steps) + 0.5f), far = splat(1e30f);
    const auto neurons_from = [&](int64_t i, int64_t count) FIRSTSPIKE_ALWAYS_INLINE {
        const float* p = f.from(i);
        const Vec from_center = load_some(z + i, count) - take(p, kCenter);
        const Vec level = from_center * take(p, kScale) + take(p, kShift);
        const Vec held = larger(level, Vec{});  // 0 of a NaN, which is no integer
        const Ints a = __builtin_convertvector(held < most ? held : most, Ints);
        narrow_some(times + i, reinterpret_cast<Words>(a == 0 ? Ints{} + kSilent : steps - a), count);
        if constexpr (kRecord) {
            const Vec above = larger(from_center * take(p, kInverse), -far);  // -far of a NaN
            const Words n = reinterpret_cast<Words>(above < far ? above : far);
            const auto inside = (level >= half) & (level <= most);
            write_halves(normalized + i, inside ? n | kInside : (n + kInside) & ~kInside, count);  // the nearest with this bit
        }
    };
    int64_t i = 0;
    for (; i + kLanes <= neurons; i += kLanes) neurons_from(i, int64_t{kLanes});
    if (i < neurons) neurons_from(i, neurons - i);
}

// The first `count` gradients of values where u is in [0, 1], at most a vector, and 0 elsewhere.
FIRSTSPIKE_INLINE Vec within_clip(const float* gradient, Words normalized, int64_t count) {
    return (normalized & kInside) != 0 ? load_some(gradient, count) : Vec{};
}

// The gradient of a current is that of the value times kAlong where u is in [0, 1], less kMean + n kTurn.
enum { kAlong, kMean, kTurn, kLines };

template <bool kBatch>
void current_gradient(const float* gradient, const Bfloat16* normalized, const RowParameters<kLines>& lines, int64_t neurons,
                      float* out) {
    write_vectors(out, neurons, [&](int64_t i, int64_t count) {
        const float* p = lines.from(i);
        const Words n = read_halves(normalized + i, count);
        const Vec sent = within_clip(gradient + i, n, count) * take(p, kAlong);
        return kBatch ? sent - (take(p, kMean) + reinterpret_cast<Vec>(n) * take(p, kTurn)) : sent;
    });
}

// Zeros at the units that are in no patch.
void clear_rest(const Patches& p, int threads, float* out) {
    const int64_t kept_rows = p.rows() * p.pool, kept = p.columns() * p.pool;
    if (kept_rows == p.height && kept == p.width) return;
    parallel_for(p.samples * p.height, threads, [&](int64_t row) {
        const int64_t from = row % p.height < kept_rows ? kept : 0;
        std::fill(out + (row * p.width + from) * p.channels, out + (row + 1) * p.width * p.channels, 0.0f);
    });
}

}  // namespace

void channel_moments(const float* current, int64_t sites, int64_t channels, int threads, float* moments) {
    const Rows rows = sum_rows(sites, channels);
    RowParameters<1> center(channels, rows.width);  // the first site's values, so that squares do not cancel
    for (int64_t c = 0; c < channels; c += kDoubles) center.set(0, c, channels_from(current, channels, c, 0.0));
    center.repeat();
    const Buffer<double> sums =
        sums_over_sites(rows, channels, threads, [&](int64_t at, int64_t place, int64_t count, Vec& sum, Vec& squares) {
            const Vec z = load_some(current + at, count) - load_some(center.from(place), count);
            sum += z;
            squares += z * z;
        });
    const auto number = static_cast<double>(sites);
    for (int64_t c = 0; c < channels; ++c) {
        const double mean = sums[c] / number, variance = sums[channels + c] / number - mean * mean;
        moments[c] = static_cast<float>(static_cast<double>(current[c]) + mean);
        moments[channels + c] = static_cast<float>(variance > 0.0 || std::isnan(variance) ? variance : 0.0);
    }
}

void windowed_times(const float* current, const WindowedNeurons& n, int threads, uint8_t* times, Bfloat16* normalized) {
    const Rows rows = long_rows(n.sites, n.channels);
    const auto steps = static_cast<int>(n.steps);
    const RowParameters<kFired> f = firing(n, rows.width);
    each_row(rows, threads, [&](int64_t at, int64_t number) {
        if (normalized)
            fire<true>(current + at, f, steps, number, times + at, normalized + at);
        else
            fire<false>(current + at, f, steps, number, times + at, nullptr);
    });
}

void windowed_gradient(const float* gradient, const Bfloat16* normalized, const WindowedNeurons& n, bool batch, int threads,
                       const WindowedGradients& out) {
    const Rows summed = sum_rows(n.sites, n.channels), rows = long_rows(n.sites, n.channels);
    RowParameters<kLines> lines(n.channels, rows.width);
    const Buffer<double> sums =
        sums_over_sites(summed, n.channels, threads, [&](int64_t at, int64_t, int64_t count, Vec& sum, Vec& product) {
            const Words deviation = read_halves(normalized + at, count);
            const Vec sent = within_clip(gradient + at, deviation, count);
            sum += sent;
            product += sent * reinterpret_cast<Vec>(deviation);
        });
    double shared_clip = 0.0;
    for (int64_t c = 0; c < n.channels; c += kDoubles) {
        const Channels of(n, c);
        Doubles sum, product;
        std::memcpy(&sum, sums.data() + c, sizeof sum), std::memcpy(&product, sums.data() + n.channels + c, sizeof product);
        const Doubles per_clip = 1.0 / of.clip, at_clip = -(of.gamma * product + of.beta * sum) * per_clip * per_clip;
        write_channels(out.gamma, n.channels, c, product * per_clip);
        write_channels(out.beta, n.channels, c, sum * per_clip);
        if (n.clips > 1) write_channels(out.clip, n.channels, c, at_clip);
        for (int i = 0; i < kDoubles && c + i < n.channels; ++i) shared_clip += at_clip[i];
        const Doubles factor = of.gamma * of.inverse * per_clip, each = factor / static_cast<double>(n.sites);
        lines.set(kAlong, c, factor);
        lines.set(kMean, c, each * sum);
        lines.set(kTurn, c, each * product);
    }
    if (out.clip && n.clips == 1) out.clip[0] = static_cast<float>(shared_clip);
    if (!out.current) return;
    lines.repeat();
    each_row(rows, threads, [&](int64_t at, int64_t number) {
        if (batch)
            current_gradient<true>(gradient + at, normalized + at, lines, number, out.current + at);
        else
            current_gradient<false>(gradient + at, normalized + at, lines, number, out.current + at);
    });
}

void windowed_values(const uint8_t* times, const Patches& p, int steps, int threads, float* values) {
    const Vec most = splat(static_cast<float>(p.pool * p.pool * steps));
    if (p.pool == 1)
        return each_row(long_rows(p.sites(), p.channels), threads, [&](int64_t at, int64_t number) {
            write_vectors(values + at, number, [&](int64_t i, int64_t n) {
                return __builtin_convertvector(levels_of(times + at + i, n, steps), Vec) / most;
            });
        });
    each_patch(p, threads, [&](int64_t cell, int64_t first) {
        write_vectors(values + cell * p.channels, p.channels, [&](int64_t c, int64_t n) {
            Ints sum{};
            each_unit(p, first, [&](int64_t site) { sum += levels_of(times + site * p.channels + c, n, steps); });
            return __builtin_convertvector(sum, Vec) / most;
        });
    });
}

void windowed_values_gradient(const float* gradient, const Patches& p, int threads, float* values_gradient) {
    const float share = 1.0f / static_cast<float>(p.pool * p.pool);
    clear_rest(p, threads, values_gradient);
    each_patch(p, threads, [&](int64_t cell, int64_t first) {
        const float* __restrict from = gradient + cell * p.channels;
        each_unit(p, first, [&](int64_t site) {
            float* __restrict out = values_gradient + site * p.channels;
            for (int64_t c = 0; c < p.channels; ++c) out[c] = from[c] * share;
        });
    });
}

void windowed_earliest(const uint8_t* times, const Patches& p, int threads, uint8_t* earliest) {
    typedef uint8_t Chunk __attribute__((vector_size(16)));
    each_patch(p, threads, [&](int64_t cell, int64_t first) {
        const auto least_from = [&]<class Part>(Part least, int64_t c) {
            each_unit(p, first, [&](int64_t site) {
                Part time;
                std::memcpy(&time, times + site * p.channels + c, sizeof time);
                least = time < least ? time : least;
            });
            std::memcpy(earliest + cell * p.channels + c, &least, sizeof least);
        };
        int64_t c = 0;
        for (; c + 16 <= p.channels; c += 16) least_from(~Chunk{}, c);
        for (; c < p.channels; ++c) least_from(uint8_t{255}, c);
    });
}

void windowed_earliest_gradient(const float* gradient, const uint8_t* times, const uint8_t* earliest, const Patches& p,
                                int threads, float* values_gradient) {
    clear_rest(p, threads, values_gradient);
    each_patch(p, threads, [&](int64_t cell, int64_t first) {
        for (int64_t c = 0; c < p.channels; c += kLanes) {
            const int64_t at = cell * p.channels + c, count = std::min<int64_t>(kLanes, p.channels - c);
            const Vec sent = load_some(gradient + at, count);
            Ints sought = read_bytes(earliest + at, count);
            each_unit(p, first, [&](int64_t site) {
                const int64_t unit = site * p.channels + c;
                const auto wins = read_bytes(times + unit, count) == sought;
                sought = wins ? Ints{} - 1 : sought;  // the first one alone
                write_vectors(values_gradient + unit, count, [&](int64_t, int64_t) { return wins ? sent : Vec{}; });
            });
        }
    });
}

}  // namespace firstspike
