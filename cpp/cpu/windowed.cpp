// Layers of windows. Sums over sites are made part by part, in single precision within a block of sites, then in double, and
// parts are added in order; there are as many parts for any number of threads.
#include <algorithm>
#include <cmath>

#include "kernels.h"

namespace firstspike {

namespace {

constexpr int64_t kSummedWidth = kWindowVectors * kLanes;
constexpr float kMostCode = 127.0f;
constexpr double kStep = 0.125, kLeast = -8.0, kLevelCodes = 126.0;  // of n; of u

typedef int32_t Ints __attribute__((vector_size(kLanes * 4), aligned(4)));

// Neurons [sites, channels] as rows of several sites, so that a loop along a row is long; the last row may be shorter.
struct Rows {
    int64_t neurons, width;

    Rows(int64_t sites, int64_t channels, int64_t least)
        : neurons(sites * channels), width(channels * std::max<int64_t>(1, least / channels)) {}
    int64_t number() const { return (neurons + width - 1) / width; }
};

// run(from, number) for all rows, where number is below the width for the last one alone.
template <class Run>
void each_row(const Rows& rows, int threads, Run&& run) {
    parallel_blocks(
        rows.number(), std::max<int64_t>(1, kNeuronsPerTask / rows.width), threads, [&](int64_t first, int64_t number) {
            for (int64_t at = first * rows.width; at < std::min((first + number) * rows.width, rows.neurons); at += rows.width)
                run(at, std::min(rows.width, rows.neurons - at));
        });
}

// N arrays [channels], repeated along a row by `repeat`. They begin at different cache lines modulo a page: what is read at once
// would else fight for one set of the first cache.
template <int N>
class RowParameters {
 public:
    RowParameters(int64_t channels, int64_t width)
        : channels_(channels), width_(width), stride_((width + 15) / 16 * 16 + 16), values_(N * stride_) {}

    float* operator[](int array) { return values_.data() + array * stride_; }
    const float* operator[](int array) const { return values_.data() + array * stride_; }
    void repeat() {
        for (int array = 0; array < N; ++array)
            for (int64_t i = channels_; i < width_; ++i) (*this)[array][i] = (*this)[array][i - channels_];
    }

 private:
    int64_t channels_, width_, stride_;
    Buffer<float> values_;
};

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
    Buffer<double> total(2 * channels);
    std::fill_n(total.data(), 2 * channels, 0.0);
    for (int64_t part = 0; part < parts; ++part)
        for (int64_t which = 0; which < 2; ++which)
            for (int64_t i = 0; i < width; ++i) total[which * channels + i % channels] += partial[(2 * part + which) * width + i];
    return total;
}

Rows sum_rows(int64_t sites, int64_t channels) { return {sites, channels, kSummedWidth}; }
Rows long_rows(int64_t sites, int64_t channels) { return {sites, channels, kLongRow}; }

// The parameters of one channel, in double precision.
struct Channel {
    double center = 0.0, inverse = 1.0, gamma = 1.0, beta = 0.0, clip = 1.0;

    Channel(const WindowedNeurons& n, int64_t c) : clip(static_cast<double>(n.clip[n.clips == 1 ? 0 : c])) {
        if (n.beta) beta = static_cast<double>(n.beta[c]);
        if (!n.moments) return;
        center = static_cast<double>(n.moments[c]);
        inverse = 1.0 / std::sqrt(static_cast<double>(n.moments[n.channels + c]) + n.eps);
        if (n.gamma) gamma = static_cast<double>(n.gamma[c]);
    }
    // Whether codes inside the clip hold u.
    bool holds_level() const { return std::abs(gamma) * kLevelCodes * kStep >= clip; }
    // What such a code is as n: scale and shift.
    double inside_scale() const { return holds_level() ? clip / (kLevelCodes * gamma) : kStep; }
    double inside_shift() const { return holds_level() ? -beta / gamma : kLeast; }
};

// What the neurons' parameters are in the arithmetic of `fire`: of d = z - center the level T u + 1/2, and the codes.
enum { kCenter, kScale, kShift, kInsideScale, kInsideShift, kOutsideScale, kFolded };

RowParameters<kFolded> folded(const WindowedNeurons& n, int64_t width) {
    RowParameters<kFolded> f(n.channels, width);
    for (int64_t c = 0; c < n.channels; ++c) {
        const Channel of(n, c);
        const double steps = static_cast<double>(n.steps);
        f[kCenter][c] = static_cast<float>(of.center);
        f[kScale][c] = static_cast<float>(steps * of.gamma * of.inverse / of.clip);
        f[kShift][c] = static_cast<float>(steps * of.beta / of.clip + 0.5);
        f[kInsideScale][c] = static_cast<float>(of.inverse / of.inside_scale());
        f[kInsideShift][c] = static_cast<float>(0.5 - of.inside_shift() / of.inside_scale());
        f[kOutsideScale][c] = static_cast<float>(of.inverse / kStep);
    }
    f.repeat();
    return f;
}

// The low bytes of `count` words, at most a vector. Compilers make many instructions of the conversion for AVX2.
FIRSTSPIKE_INLINE void write_bytes(uint8_t* out, Ints words, int64_t count) {
#if defined(__AVX2__) && !(defined(__AVX512F__) && defined(__AVX512BW__))
    if (count >= kLanes) {
        const __m256i first = _mm256_set1_epi32(0x0c080400);  // of each word, four to a half of the vector
        const __m256i halves = _mm256_shuffle_epi8(reinterpret_cast<__m256i>(words), first);
        const __m128i both = _mm_unpacklo_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
        return _mm_storel_epi64(reinterpret_cast<__m128i*>(out), both);
    }
#endif
    narrow_some(out, reinterpret_cast<Words>(words), count);
}

template <bool kCodes>
void fire(const float* z, const RowParameters<kFolded>& f, int64_t neurons, int steps, uint8_t* times, uint8_t* codes) {
    const Vec half = splat(0.5f), most = splat(static_cast<float>(steps) + 0.5f), most_code = splat(kMostCode);
    const Vec outside_shift = splat(static_cast<float>(0.5 - kLeast / kStep));
    for (int64_t i = 0; i < neurons; i += kLanes) {
        const int64_t count = neurons - i;
        const Vec from_center = load_some(z + i, count) - load(f[kCenter] + i);
        const Vec level = from_center * load(f[kScale] + i) + load(f[kShift] + i);
        const Vec held = larger(level, Vec{});  // 0 of a NaN, which is no integer
        const Ints a = __builtin_convertvector(held < most ? held : most, Ints);
        write_bytes(times + i, a == 0 ? Ints{} + kSilent : steps - a, count);
        if constexpr (kCodes) {
            const Ints inside = (level >= half) & (level <= most);  // -1 or 0
            const Vec in = from_center * load(f[kInsideScale] + i) + load(f[kInsideShift] + i);
            const Vec code = larger(inside != 0 ? in : from_center * load(f[kOutsideScale] + i) + outside_shift, Vec{});
            const Ints whole = __builtin_convertvector(code < most_code ? code : most_code, Ints);
            write_bytes(codes + i, 2 * whole - inside, count);
        }
    }
}

// The levels a of `count` times, at most a vector.
FIRSTSPIKE_INLINE Vec levels(const uint8_t* times, int64_t count, int steps) {
    const Ints t = reinterpret_cast<Ints>(widen_some(times, count));
    return __builtin_convertvector(t == kSilent ? Ints{} : steps - t, Vec);
}

// The gradient of a current is along times that of the value, where inside, less turn n + mean, which is a line in the code.
enum { kAlong, kMean, kTurn, kInsideMean, kInsideTurn, kLines };

template <bool kBatch>
void current_gradient(const float* gradient, const uint8_t* codes, const RowParameters<kLines>& lines, int64_t neurons,
                      float* out) {
    write_vectors(out, neurons, [&](int64_t i, int64_t count) {
        const Words code = widen_some(codes + i, count);
        const auto inside = (code & 1) != 0;
        const Vec sent = inside ? load_some(gradient + i, count) * load(lines[kAlong] + i) : Vec{};
        if constexpr (!kBatch) return sent;
        const Vec held = __builtin_convertvector(reinterpret_cast<Ints>(code >> 1), Vec);
        const Vec in = load(lines[kInsideMean] + i) + held * load(lines[kInsideTurn] + i);
        return sent - (inside ? in : load(lines[kMean] + i) + held * load(lines[kTurn] + i));
    });
}

// Zeros at the units that are in no window.
void clear_rest(const Windows& w, int threads, float* out) {
    const int64_t kept_rows = w.rows() * w.pool, kept = w.columns() * w.pool;
    if (kept_rows == w.height && kept == w.width) return;
    parallel_for(w.samples * w.height, threads, [&](int64_t row) {
        const int64_t from = row % w.height < kept_rows ? kept : 0;
        std::fill(out + (row * w.width + from) * w.channels, out + (row + 1) * w.width * w.channels, 0.0f);
    });
}

}  // namespace

void channel_moments(const float* current, int64_t sites, int64_t channels, int threads, float* moments) {
    const Rows rows = sum_rows(sites, channels);
    RowParameters<1> center(channels, rows.width);  // the first site's values, so that squares do not cancel
    std::copy_n(current, channels, center[0]);
    center.repeat();
    const Buffer<double> sums =
        sums_over_sites(rows, channels, threads, [&](int64_t at, int64_t place, int64_t count, Vec& sum, Vec& squares) {
            const Vec z = load_some(current + at, count) - load_some(center[0] + place, count);
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

void windowed_times(const float* current, const WindowedNeurons& n, int threads, uint8_t* times, uint8_t* codes) {
    if (n.sites == 0) return;
    const Rows rows = long_rows(n.sites, n.channels);
    const RowParameters<kFolded> f = folded(n, rows.width);
    const auto steps = static_cast<int>(n.steps);
    each_row(rows, threads, [&](int64_t at, int64_t number) {
        if (codes)
            fire<true>(current + at, f, number, steps, times + at, codes + at);
        else
            fire<false>(current + at, f, number, steps, times + at, nullptr);
    });
}

void windowed_gradient(const float* gradient, const uint8_t* codes, const WindowedNeurons& n, bool batch, int threads,
                       const WindowedGradients& out) {
    if (n.sites == 0) {
        for (float* array : {out.gamma, out.beta})
            if (array) std::fill_n(array, n.channels, 0.0f);
        if (out.clip) std::fill_n(out.clip, n.clips, 0.0f);
        return;
    }
    const Buffer<double> sums = sums_over_sites(
        sum_rows(n.sites, n.channels), n.channels, threads, [&](int64_t at, int64_t, int64_t count, Vec& sum, Vec& along) {
            const Words code = widen_some(codes + at, count);
            const Vec inside = (code & 1) != 0 ? load_some(gradient + at, count) : Vec{};
            sum += inside;
            along += inside * __builtin_convertvector(reinterpret_cast<Ints>(code >> 1), Vec);
        });
    const Rows rows = long_rows(n.sites, n.channels);
    RowParameters<kLines> lines(n.channels, rows.width);
    double shared_clip = 0.0;
    for (int64_t c = 0; c < n.channels; ++c) {
        const Channel of(n, c);
        const double sum = sums[c], product = of.inside_scale() * sums[n.channels + c] + of.inside_shift() * sum;
        const double at_clip = -(of.gamma * product + of.beta * sum) / (of.clip * of.clip);
        if (out.gamma) out.gamma[c] = static_cast<float>(product / of.clip);
        if (out.beta) out.beta[c] = static_cast<float>(sum / of.clip);
        if (out.clip && n.clips > 1) out.clip[c] = static_cast<float>(at_clip);
        shared_clip += at_clip;
        const double factor = of.gamma * of.inverse / of.clip, each = batch ? factor / static_cast<double>(n.sites) : 0.0;
        lines[kAlong][c] = static_cast<float>(factor);
        lines[kMean][c] = static_cast<float>(each * (sum + product * kLeast));
        lines[kTurn][c] = static_cast<float>(each * product * kStep);
        lines[kInsideMean][c] = static_cast<float>(each * (sum + product * of.inside_shift()));
        lines[kInsideTurn][c] = static_cast<float>(each * product * of.inside_scale());
    }
    if (out.clip && n.clips == 1) out.clip[0] = static_cast<float>(shared_clip);
    if (!out.current) return;
    lines.repeat();
    each_row(rows, threads, [&](int64_t at, int64_t number) {
        if (batch)
            current_gradient<true>(gradient + at, codes + at, lines, number, out.current + at);
        else
            current_gradient<false>(gradient + at, codes + at, lines, number, out.current + at);
    });
}

void windowed_values(const uint8_t* times, const Windows& w, int64_t steps, int threads, float* values) {
    const auto window = static_cast<int>(steps);
    const Vec most = splat(static_cast<float>(w.pool * w.pool * steps));
    if (w.pool == 1) {
        parallel_blocks(w.sites() * w.channels, kNeuronsPerTask, threads, [&](int64_t from, int64_t number) {
            write_vectors(values + from, number,
                          [&](int64_t i, int64_t n) { return levels(times + from + i, n, window) / most; });
        });
        return;
    }
    each_window(w, threads, [&](int64_t cell, int64_t first) {
        write_vectors(values + cell * w.channels, w.channels, [&](int64_t c, int64_t n) {
            Vec sum{};
            each_unit(w, first, [&](int64_t site) { sum += levels(times + site * w.channels + c, n, window); });
            return sum / most;
        });
    });
}

void windowed_values_gradient(const float* gradient, const Windows& w, int threads, float* values_gradient) {
    const float share = 1.0f / static_cast<float>(w.pool * w.pool);
    clear_rest(w, threads, values_gradient);
    each_window(w, threads, [&](int64_t cell, int64_t first) {
        const float* __restrict from = gradient + cell * w.channels;
        each_unit(w, first, [&](int64_t site) {
            float* __restrict out = values_gradient + site * w.channels;
            for (int64_t c = 0; c < w.channels; ++c) out[c] = from[c] * share;
        });
    });
}

void windowed_earliest_gradient(const float* gradient, const uint8_t* winner, const Windows& w, int threads,
                                float* values_gradient) {
    clear_rest(w, threads, values_gradient);
    each_window(w, threads, [&](int64_t cell, int64_t first) {
        const float* from = gradient + cell * w.channels;
        const uint8_t* winners = winner + cell * w.channels;
        uint32_t unit = 0;
        each_unit(w, first, [&](int64_t site) {
            const uint32_t number = unit++;
            write_vectors(values_gradient + site * w.channels, w.channels, [&](int64_t c, int64_t n) {
                return widen_some(winners + c, n) == number ? load_some(from + c, n) : Vec{};
            });
        });
    });
}

}  // namespace firstspike
