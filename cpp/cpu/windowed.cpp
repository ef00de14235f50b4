// Layers of windows. Sums over sites are made part by part, in single precision within a block of sites, then in double, and
// parts are added in order; there are as many parts for any number of threads.
#include <algorithm>
#include <cmath>

#include "kernels.h"

namespace firstspike {

namespace {

constexpr int64_t kSummedWidth = kWindowVectors * kLanes;
constexpr double kMostDeviations = 8.0;  // of n
constexpr double kMostParts = 1 << 22;   // of all levels: floats hold their halves too
constexpr double kLeastGamma = 1e5;      // the clip over the least gamma that gets a gradient

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

// Bytes are codes of a window of as many steps; a code of more steps holds two levels, about.
int coded_steps(int64_t window) { return window > kMostCodedSteps ? 128 : static_cast<int>(window); }

// The parameters of one channel, in double precision.
struct Channel {
    double center = 0.0, inverse = 1.0, gamma = 1.0, beta = 0.0, clip = 1.0;

    Channel(const WindowedNeurons& n, int64_t c) : clip(static_cast<double>(n.clip[n.clips == 1 ? 0 : c])) {
        if (n.beta) beta = static_cast<double>(n.beta[c]);
        if (!n.moments) return;
        normal_ = true;
        center = static_cast<double>(n.moments[c]);
        inverse = 1.0 / std::sqrt(static_cast<double>(n.moments[n.channels + c]) + n.eps);
        if (n.gamma) gamma = static_cast<double>(n.gamma[c]);
    }
    double sign() const { return gamma < 0.0 ? -1.0 : 1.0; }
    // Of n times the sign, where v has this value.
    double where(double v) const {
        return std::clamp((v - beta) / std::max(std::abs(gamma), 1e-30), -kMostDeviations, kMostDeviations);
    }
    bool normal() const { return normal_; }

 private:
    bool normal_ = false;
};

// How the neurons of a channel are codes (kernels.h). Codes below `early` are above the clip, those from `late` on below it.
// Counted from code late - 1 on, the level a and the number of cells before the neuron's, each at most `cells`, add up; a level
// has one cell less than parts, and `skipped` cells come before the first one.
struct Code {
    int late = 0, early = 0;
    double parts = 1.0, skipped = 0.0;

    // Of these steps, with parts and codes outside the clip as wide as 256 codes of 2 kMostDeviations allow.
    Code(const Channel& c, int steps) {
        const double slope = steps * std::abs(c.gamma) / c.clip, shift = steps * c.beta / c.clip + 0.5;  // of U = T u + 1/2 in n
        const bool normal = c.normal() && std::isfinite(slope + shift);
        const double low = normal ? c.where(0.0) : -kMostDeviations, high = normal ? c.where(c.clip) : kMostDeviations;  // inside
        const auto level_at = [&](double n, double other) {
            return normal ? std::clamp(slope * n + shift, 0.5, steps + 0.5) : other;
        };
        const double first = level_at(low, 0.5), last = level_at(high, steps + 0.5), share = (high - low) / (2 * kMostDeviations);
        if (last > first)
            parts =
                std::clamp(std::floor(share * ((250 - steps) / (last - first) + 1)), 1.0, std::floor(kMostParts / (steps + 1)));
        const auto cells_before = [&](double level) { return std::floor(parts * level) - std::floor(level); };
        skipped = cells_before(first);
        const double cells = std::min(cells_before(last) - skipped, 253.0 - steps);
        const int used = steps + 1 + static_cast<int>(cells), rest = 256 - used;
        const double below = share < 1.0 ? (low + kMostDeviations) / (2 * kMostDeviations * (1.0 - share)) : 0.5;
        late = 256 - std::clamp(static_cast<int>(std::lround(rest * below)), 1, rest - 1), early = late - used;
    }
    Code(const float* scales, int64_t channels, int64_t c)
        : late(static_cast<int>(scales[c]) / 256),
          early(static_cast<int>(scales[c]) % 256),
          parts(static_cast<double>(scales[channels + c])),
          skipped(static_cast<double>(scales[2 * channels + c])) {}
    void write(float* scales, int64_t channels, int64_t c) const {
        scales[c] = static_cast<float>(256 * late + early);
        scales[channels + c] = static_cast<float>(parts), scales[2 * channels + c] = static_cast<float>(skipped);
    }
    // From an end of the clip, in U, to the middle of the code there, so that beyond it the line below is never taken.
    double edge() const { return parts > 1.0 ? 0.25 : 0.5; }
    // n per code outside the clip.
    double deviation(const Channel& c) const {
        return std::max(2 * kMostDeviations - c.where(c.clip) + c.where(0.0), 1e-3) / (256 - late + early);
    }
};

// What the neurons' parameters are in the arithmetic of `fire`: of d = z - center the level U = T u + 1/2; and the code, counted
// from the last one so that it rises with u.
enum { kCenter, kScale, kShift, kOutside, kBelow, kAbove, kParts, kSkipped, kCells, kFirst, kFolded };

RowParameters<kFolded> folded(const WindowedNeurons& n, int steps, float* scales, int64_t width) {
    RowParameters<kFolded> f(n.channels, width);
    for (int64_t c = 0; c < n.channels; ++c) {
        const Channel of(n, c);
        const double slope = steps / of.clip;
        f[kCenter][c] = static_cast<float>(of.center);
        f[kScale][c] = static_cast<float>(slope * of.gamma * of.inverse);
        f[kShift][c] = static_cast<float>(slope * of.beta + 0.5);
        if (!scales) continue;
        const Code code(of, steps);
        const double per = 1.0 / code.deviation(of);
        code.write(scales, n.channels, c);
        f[kOutside][c] = static_cast<float>(of.sign() * of.inverse * per);
        f[kBelow][c] = static_cast<float>(256 - code.late - of.where(0.0) * per);
        f[kAbove][c] = static_cast<float>(256 - code.early - of.where(of.clip) * per);
        f[kParts][c] = static_cast<float>(code.parts);
        f[kSkipped][c] = static_cast<float>(code.skipped);
        f[kCells][c] = static_cast<float>(code.late - code.early - steps - 1);
        f[kFirst][c] = static_cast<float>(256 - code.late);
    }
    f.repeat();
    return f;
}

// Codes as levels U in the middle of their part: where a cell was counted in, it is on the line, else a whole level below or
// above. Below the clip U is at most -1/4, above it at least T + 5/4.
enum { kMostOf, kSlope, kShiftOf, kLeastOf, kDecoded };

template <int N>
void decode(const Code& code, int steps, RowParameters<N>& p, int64_t c) {
    p[kMostOf][c] = static_cast<float>(code.late - code.edge());
    p[kSlope][c] = static_cast<float>(-1.0 / code.parts);
    p[kShiftOf][c] = static_cast<float>((code.late - 0.5 + code.skipped) / code.parts);
    p[kLeastOf][c] = static_cast<float>(code.early + steps + code.edge());
}

template <int N>
FIRSTSPIKE_INLINE Vec level_of(Ints byte, const RowParameters<N>& p, int64_t at) {
    const Vec code = __builtin_convertvector(byte, Vec);
    const Vec most = load(p[kMostOf] + at) - code, line = code * load(p[kSlope] + at) + load(p[kShiftOf] + at);
    return larger(load(p[kLeastOf] + at) - code, most < line ? most : line);
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
void fire(const float* z, const RowParameters<kFolded>& f, int steps, int64_t neurons, uint8_t* times, uint8_t* codes) {
    const Vec half = splat(0.5f), most = splat(static_cast<float>(steps) + 0.5f), levels = splat(static_cast<float>(steps + 1));
    const Vec most_code = splat(255.0f);
    for (int64_t i = 0; i < neurons; i += kLanes) {
        const int64_t count = neurons - i;
        const Vec from_center = load_some(z + i, count) - load(f[kCenter] + i);
        const Vec level = from_center * load(f[kScale] + i) + load(f[kShift] + i);
        const Vec held = larger(level, Vec{});  // 0 of a NaN, which is no integer
        const Ints a = __builtin_convertvector(held < most ? held : most, Ints);
        write_bytes(times + i, a == 0 ? Ints{} + kSilent : steps - a, count);
        if constexpr (kCodes) {
            const auto inside = (level >= half) & (level <= most), above = level > most;
            const Vec whole = __builtin_convertvector(a, Vec);
            const Vec first = load(f[kFirst] + i), cells = load(f[kCells] + i), parts = load(f[kParts] + i);
            const Vec part = (level - whole) * parts, last = parts - 0.5f;  // rounding reaches no other level's parts
            const Vec cell = larger((part < last ? part : last) + (whole * (parts - 1.0f) - load(f[kSkipped] + i)), Vec{});
            const Vec in = first + whole + (cell < cells ? cell : cells);
            const Vec end = first + cells + levels;
            const Vec least = above ? end : Vec{}, top = above ? splat(255.0f) : first - 1.0f;
            const Vec out =
                larger(from_center * load(f[kOutside] + i) + (above ? load(f[kAbove] + i) : load(f[kBelow] + i)), least);
            const Vec from_last = larger(inside ? in : out < top ? out : top, Vec{});  // 0 of a NaN
            const Vec held_last = from_last < most_code ? from_last : most_code;
            write_bytes(codes + i, 255 - __builtin_convertvector(held_last, Ints), count);
        }
    }
}

// run(levels, rows), where levels(bytes, at, count) are the levels a of `count` times or codes, at most a vector, from place `at`
// of a row on.
template <class Run>
void with_levels(const float* scales, int64_t scaled, int64_t window, const Rows& rows, Run&& run) {
    const auto steps = static_cast<int>(window);
    if (!scales)
        return run([steps](const uint8_t* times, int64_t, int64_t count) FIRSTSPIKE_ALWAYS_INLINE {
            const Ints t = reinterpret_cast<Ints>(widen_some(times, count));
            return t == kSilent ? Ints{} : steps - t;
        });
    RowParameters<kDecoded> p(scaled, rows.width);
    for (int64_t c = 0; c < scaled; ++c) decode(Code(scales, scaled, c), steps, p, c);
    p.repeat();
    const Vec most = splat(static_cast<float>(steps));
    run([&p, most](const uint8_t* codes, int64_t at, int64_t count) FIRSTSPIKE_ALWAYS_INLINE {
        const Vec level = larger(level_of(reinterpret_cast<Ints>(widen_some(codes, count)), p, at), Vec{});
        return __builtin_convertvector(level < most ? level : most, Ints);
    });
}

// The gradient of a current is along times that of the value, where inside, less turn n + mean, which are lines in the level.
enum { kAlong = kDecoded, kTurn, kMeanBelow, kMeanAbove, kInsideTurn, kInsideMean, kLines };

template <bool kBatch>
void current_gradient(const float* gradient, const uint8_t* codes, const RowParameters<kLines>& lines, float end, int64_t neurons,
                      float* out) {
    write_vectors(out, neurons, [&](int64_t i, int64_t count) {
        const Vec level = level_of(reinterpret_cast<Ints>(widen_some(codes + i, count)), lines, i);
        const auto above = level > end, inside = (level > Vec{}) & (level < end);
        const Vec sent = inside ? load_some(gradient + i, count) * load(lines[kAlong] + i) : Vec{};
        if constexpr (!kBatch) return sent;
        const Vec mean = above ? load(lines[kMeanAbove] + i) : load(lines[kMeanBelow] + i);
        const Vec in = load(lines[kInsideMean] + i) + level * load(lines[kInsideTurn] + i);
        return sent - (inside ? in : mean + level * load(lines[kTurn] + i));
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

void windowed_times(const float* current, const WindowedNeurons& n, int threads, uint8_t* times, uint8_t* codes, float* scales) {
    const Rows rows = long_rows(n.sites, n.channels);
    const auto pass = [&](int steps, bool coded) {
        const RowParameters<kFolded> f = folded(n, steps, coded ? scales : nullptr, rows.width);
        each_row(rows, threads, [&](int64_t at, int64_t number) {
            if (coded)
                fire<true>(current + at, f, steps, number, times + at, codes + at);
            else
                fire<false>(current + at, f, steps, number, times + at, nullptr);
        });
    };
    const auto steps = static_cast<int>(n.steps), coded = coded_steps(n.steps);
    if (codes) pass(coded, true);
    if (!codes || coded != steps) pass(steps, false);  // the codes are of fewer steps than the times
}

void windowed_gradient(const float* gradient, const uint8_t* codes, const float* scales, const WindowedNeurons& n, bool batch,
                       int threads, const WindowedGradients& out) {
    const int steps = coded_steps(n.steps);
    const float end = static_cast<float>(steps + 1);
    const Rows summed = sum_rows(n.sites, n.channels), rows = long_rows(n.sites, n.channels);
    RowParameters<kLines> lines(n.channels, std::max(rows.width, summed.width));
    for (int64_t c = 0; c < n.channels; ++c) decode(Code(scales, n.channels, c), steps, lines, c);
    lines.repeat();
    const Buffer<double> sums =
        sums_over_sites(summed, n.channels, threads, [&](int64_t at, int64_t place, int64_t count, Vec& sum, Vec& along) {
            const Vec level = level_of(reinterpret_cast<Ints>(widen_some(codes + at, count)), lines, place);
            const Vec inside = (level > Vec{}) & (level < end) ? load_some(gradient + at, count) : Vec{};
            sum += inside;
            along += inside * level;
        });
    double shared_clip = 0.0;
    for (int64_t c = 0; c < n.channels; ++c) {
        const Channel of(n, c);
        const Code code(scales, n.channels, c);
        const double sum = sums[c], along = (sums[n.channels + c] - 0.5 * sum) / steps;  // of u
        const bool seen = !of.normal() || std::abs(of.gamma) * kLeastGamma > of.clip;
        const double slope = seen ? of.clip / of.gamma : 0.0, shift = seen ? of.beta / of.gamma : 0.0;  // of n in u
        const double product = slope * along - shift * sum, at_clip = -along / of.clip;
        if (out.gamma) out.gamma[c] = static_cast<float>(product / of.clip);
        if (out.beta) out.beta[c] = static_cast<float>(sum / of.clip);
        if (out.clip && n.clips > 1) out.clip[c] = static_cast<float>(at_clip);
        shared_clip += at_clip;
        const double factor = of.gamma * of.inverse / of.clip, each = batch ? factor / static_cast<double>(n.sites) : 0.0;
        lines[kAlong][c] = static_cast<float>(factor);
        const double mean = each * sum, turn = each * product, step = of.sign() * code.deviation(of);
        lines[kTurn][c] = static_cast<float>(turn * step);
        lines[kMeanBelow][c] = static_cast<float>(mean + turn * (of.sign() * of.where(0.0) + step * (code.edge() - 0.5)));
        lines[kMeanAbove][c] =
            static_cast<float>(mean + turn * (of.sign() * of.where(of.clip) - step * (steps + 0.5 + code.edge())));
        lines[kInsideTurn][c] = static_cast<float>(turn * slope / steps);
        lines[kInsideMean][c] = static_cast<float>(mean - turn * (slope * 0.5 / steps + shift));
    }
    if (out.clip && n.clips == 1) out.clip[0] = static_cast<float>(shared_clip);
    if (!out.current) return;
    lines.repeat();
    each_row(rows, threads, [&](int64_t at, int64_t number) {
        if (batch)
            current_gradient<true>(gradient + at, codes + at, lines, end, number, out.current + at);
        else
            current_gradient<false>(gradient + at, codes + at, lines, end, number, out.current + at);
    });
}

void windowed_values(const uint8_t* bytes, const float* scales, int64_t scaled, const Windows& w, int64_t steps, int threads,
                     float* values) {
    const Vec most = splat(static_cast<float>(w.pool * w.pool * steps));
    const Rows rows = long_rows(w.sites(), w.channels);
    with_levels(scales, scaled, steps, rows, [&](auto levels) {
        if (w.pool == 1)
            return each_row(rows, threads, [&](int64_t at, int64_t number) {
                write_vectors(values + at, number, [&](int64_t i, int64_t n) {
                    return __builtin_convertvector(levels(bytes + at + i, i, n), Vec) / most;
                });
            });
        each_window(w, threads, [&](int64_t cell, int64_t first) {
            write_vectors(values + cell * w.channels, w.channels, [&](int64_t c, int64_t n) {
                Ints sum{};
                each_unit(w, first, [&](int64_t site) { sum += levels(bytes + site * w.channels + c, c, n); });
                return __builtin_convertvector(sum, Vec) / most;
            });
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

void windowed_earliest(const uint8_t* bytes, const Windows& w, int threads, uint8_t* earliest) {
    typedef uint8_t Chunk __attribute__((vector_size(16)));
    each_window(w, threads, [&](int64_t cell, int64_t first) {
        const auto least_from = [&]<class Part>(Part least, int64_t c) {
            each_unit(w, first, [&](int64_t site) {
                Part byte;
                std::memcpy(&byte, bytes + site * w.channels + c, sizeof byte);
                least = byte < least ? byte : least;
            });
            std::memcpy(earliest + cell * w.channels + c, &least, sizeof least);
        };
        int64_t c = 0;
        for (; c + 16 <= w.channels; c += 16) least_from(~Chunk{}, c);
        for (; c < w.channels; ++c) least_from(uint8_t{255}, c);
    });
}

void windowed_earliest_gradient(const float* gradient, const uint8_t* bytes, const uint8_t* earliest, const float* scales,
                                int64_t scaled, const Windows& w, int64_t steps, int threads, float* values_gradient) {
    clear_rest(w, threads, values_gradient);
    with_levels(scales, scaled, steps, long_rows(w.sites(), w.channels), [&](auto levels) {
        each_window(w, threads, [&](int64_t cell, int64_t first) {
            for (int64_t c = 0; c < w.channels; c += kLanes) {
                const int64_t at = cell * w.channels + c, count = std::min<int64_t>(kLanes, w.channels - c);
                const Vec sent = load_some(gradient + at, count);
                Ints sought = levels(earliest + at, c, count);
                each_unit(w, first, [&](int64_t site) {
                    const int64_t unit = site * w.channels + c;
                    const auto wins = levels(bytes + unit, c, count) == sought;
                    sought = wins ? Ints{} - 1 : sought;  // the first one alone
                    write_vectors(values_gradient + unit, count, [&](int64_t, int64_t) { return wins ? sent : Vec{}; });
                });
            }
        });
    });
}

}  // namespace firstspike
