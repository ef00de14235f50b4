// Layers of windows. Sums over sites are made part by part, in single precision within a block of sites, then in double, and
// parts are added in order; there are as many parts for any number of threads.
#include <algorithm>
#include <cmath>

#include "kernels.h"

namespace firstspike {

namespace {

constexpr int64_t kSummedWidth = kWindowVectors * kLanes;
constexpr double kMostDeviations = 8.0;  // of n
constexpr int64_t kParts = 128;
constexpr double kCoarsest = 2.5;  // deviations of n in a part

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

// A line in codes.
struct Line {
    double shift, slope;
};

// How bytes are codes (kernels.h): those before `early` are above the clip, those from `late` on below it.
struct Codes {
    double steps, parts;  // parts: per level
    double deviation;     // of n, per code outside the clip
    int first;            // part of T u + 1/2 where u is 0; code late - 1 - i holds part first + i
    int early, late;

    explicit Codes(int64_t window)
        : steps(static_cast<double>(window)),
          parts(window > kMostCodedSteps ? 0.5 : static_cast<double>(std::max<int64_t>(1, kParts / window))),
          first(static_cast<int>(parts / 2)) {
        const int inside = static_cast<int>(parts * (steps + 0.5)) - first + 1, outside = 256 - inside;
        deviation = 2 * kMostDeviations / outside;
        late = 256 - outside * 5 / 8, early = late - inside;
    }
    // T u + 1/2 in the middle of the part of code 0, if it were inside.
    double top() const { return (late + first - 0.5) / parts; }
    // u in the middle of each code's part.
    Line inside() const { return {(top() - 0.5) / steps, -1.0 / (parts * steps)}; }
};

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
    // n in the middle of each code's part; its mean, 0, where deviations are less than parts.
    Line inside(const Codes& codes) const {
        const Line u = codes.inside();
        if (normal_ && -u.slope * clip > kCoarsest * std::abs(gamma)) return {0.0, 0.0};
        return {(u.shift * clip - beta) / gamma, u.slope * clip / gamma};
    }
    Line above(const Codes& codes) const { return outside(codes, where(clip), codes.early); }
    Line below(const Codes& codes) const { return outside(codes, where(0.0), codes.late); }

 private:
    bool normal_ = false;

    Line outside(const Codes& codes, double end, int code) const {
        return {sign() * (end + codes.deviation * (code - 0.5)), -sign() * codes.deviation};
    }
};

// What the neurons' parameters are in the arithmetic of `fire`: of d = z - center the level T u + 1/2, and outside the clip the
// code, counted from the last one so that it rises with u.
enum { kCenter, kScale, kShift, kOutside, kBelow, kAbove, kFolded };

RowParameters<kFolded> folded(const WindowedNeurons& n, const Codes& codes, int64_t width) {
    RowParameters<kFolded> f(n.channels, width);
    for (int64_t c = 0; c < n.channels; ++c) {
        const Channel of(n, c);
        f[kCenter][c] = static_cast<float>(of.center);
        f[kScale][c] = static_cast<float>(codes.steps * of.gamma * of.inverse / of.clip);
        f[kShift][c] = static_cast<float>(codes.steps * of.beta / of.clip + 0.5);
        f[kOutside][c] = static_cast<float>(of.sign() * of.inverse / codes.deviation);
        f[kBelow][c] = static_cast<float>(256 - codes.late - of.where(0.0) / codes.deviation);
        f[kAbove][c] = static_cast<float>(256 - codes.early - of.where(of.clip) / codes.deviation);
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
void fire(const float* z, const RowParameters<kFolded>& f, const Codes& how, int64_t neurons, uint8_t* times, uint8_t* codes) {
    const auto steps = static_cast<int>(how.steps);
    const auto parts = static_cast<float>(how.parts);
    const Vec half = splat(0.5f), most = splat(static_cast<float>(steps) + 0.5f);
    const Vec part = splat(parts * (1.0f - 0x1p-14f));  // so that rounding reaches no other level's parts
    const Vec first = splat(static_cast<float>(256 - how.late - how.first)), low = splat(static_cast<float>(255 - how.late));
    const Vec high = splat(static_cast<float>(256 - how.early)), last = splat(255.0f);
    for (int64_t i = 0; i < neurons; i += kLanes) {
        const int64_t count = neurons - i;
        const Vec from_center = load_some(z + i, count) - load(f[kCenter] + i);
        const Vec level = from_center * load(f[kScale] + i) + load(f[kShift] + i);
        const Vec held = larger(level, Vec{});  // 0 of a NaN, which is no integer
        const Ints a = __builtin_convertvector(held < most ? held : most, Ints);
        write_bytes(times + i, a == 0 ? Ints{} + kSilent : steps - a, count);
        if constexpr (kCodes) {
            const auto inside = (level >= half) & (level <= most), above = level > most;
            const Vec whole = __builtin_convertvector(a, Vec), least = above ? high : Vec{}, top = above ? last : low;
            const Vec in = (level - whole) * part + (whole * parts + first);
            const Vec out =
                larger(from_center * load(f[kOutside] + i) + (above ? load(f[kAbove] + i) : load(f[kBelow] + i)), least);
            const Vec from_last = inside ? in : out < top ? out : top;
            write_bytes(codes + i, 255 - __builtin_convertvector(from_last, Ints), count);
        }
    }
}

// run(levels), where levels(bytes, count) are the levels a of `count` times or codes, at most a vector.
template <class Run>
void with_levels(bool coded, int64_t window, Run&& run) {
    const auto steps = static_cast<int>(window);
    if (!coded)
        return run([steps](const uint8_t* times, int64_t count) FIRSTSPIKE_ALWAYS_INLINE {
            const Ints t = reinterpret_cast<Ints>(widen_some(times, count));
            return t == kSilent ? Ints{} : steps - t;
        });
    const Codes how(window);
    const Vec slope = splat(static_cast<float>(-1.0 / how.parts)), most = splat(static_cast<float>(steps));
    const Vec shift = splat(static_cast<float>(how.top()));
    run([=](const uint8_t* codes, int64_t count) FIRSTSPIKE_ALWAYS_INLINE {
        const Ints code = reinterpret_cast<Ints>(widen_some(codes, count));
        const Vec level = larger(__builtin_convertvector(code, Vec) * slope + shift, Vec{});
        return __builtin_convertvector(level < most ? level : most, Ints);
    });
}

// The gradient of a current is along times that of the value, where inside, less turn n + mean, which is a line in the code.
enum { kAlong, kTurn, kMeanBelow, kMeanAbove, kInsideTurn, kInsideMean, kLines };

template <bool kBatch>
void current_gradient(const float* gradient, const uint8_t* codes, const Codes& how, const RowParameters<kLines>& lines,
                      int64_t neurons, float* out) {
    write_vectors(out, neurons, [&](int64_t i, int64_t count) {
        const Ints code = reinterpret_cast<Ints>(widen_some(codes + i, count));
        const auto above = code < how.early, inside = (code < how.late) & ~above;
        const Vec sent = inside ? load_some(gradient + i, count) * load(lines[kAlong] + i) : Vec{};
        if constexpr (!kBatch) return sent;
        const Vec held = __builtin_convertvector(code, Vec);
        const Vec mean = above ? load(lines[kMeanAbove] + i) : load(lines[kMeanBelow] + i);
        const Vec in = load(lines[kInsideMean] + i) + held * load(lines[kInsideTurn] + i);
        return sent - (inside ? in : mean + held * load(lines[kTurn] + i));
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
    const Codes how(n.steps);
    const RowParameters<kFolded> f = folded(n, how, rows.width);
    each_row(rows, threads, [&](int64_t at, int64_t number) {
        if (codes)
            fire<true>(current + at, f, how, number, times + at, codes + at);
        else
            fire<false>(current + at, f, how, number, times + at, nullptr);
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
    const Codes how(n.steps);
    const Buffer<double> sums = sums_over_sites(
        sum_rows(n.sites, n.channels), n.channels, threads, [&](int64_t at, int64_t, int64_t count, Vec& sum, Vec& along) {
            const Ints code = reinterpret_cast<Ints>(widen_some(codes + at, count));
            const Vec inside = (code >= how.early) & (code < how.late) ? load_some(gradient + at, count) : Vec{};
            sum += inside;
            along += inside * __builtin_convertvector(code, Vec);
        });
    const Rows rows = long_rows(n.sites, n.channels);
    RowParameters<kLines> lines(n.channels, rows.width);
    double shared_clip = 0.0;
    for (int64_t c = 0; c < n.channels; ++c) {
        const Channel of(n, c);
        const Line u = how.inside(), inside = of.inside(how), below = of.below(how), above = of.above(how);
        const double sum = sums[c], along = sums[n.channels + c];
        const double product = inside.shift * sum + inside.slope * along;
        const double at_clip = -(u.shift * sum + u.slope * along) / of.clip;
        if (out.gamma) out.gamma[c] = static_cast<float>(product / of.clip);
        if (out.beta) out.beta[c] = static_cast<float>(sum / of.clip);
        if (out.clip && n.clips > 1) out.clip[c] = static_cast<float>(at_clip);
        shared_clip += at_clip;
        const double factor = of.gamma * of.inverse / of.clip, each = batch ? factor / static_cast<double>(n.sites) : 0.0;
        lines[kAlong][c] = static_cast<float>(factor);
        const double turn = each * product;
        lines[kTurn][c] = static_cast<float>(turn * below.slope);
        lines[kMeanBelow][c] = static_cast<float>(each * sum + turn * below.shift);
        lines[kMeanAbove][c] = static_cast<float>(each * sum + turn * above.shift);
        lines[kInsideTurn][c] = static_cast<float>(turn * inside.slope);
        lines[kInsideMean][c] = static_cast<float>(each * sum + turn * inside.shift);
    }
    if (out.clip && n.clips == 1) out.clip[0] = static_cast<float>(shared_clip);
    if (!out.current) return;
    lines.repeat();
    each_row(rows, threads, [&](int64_t at, int64_t number) {
        if (batch)
            current_gradient<true>(gradient + at, codes + at, how, lines, number, out.current + at);
        else
            current_gradient<false>(gradient + at, codes + at, how, lines, number, out.current + at);
    });
}

void windowed_values(const uint8_t* bytes, bool coded, const Windows& w, int64_t steps, int threads, float* values) {
    const Vec most = splat(static_cast<float>(w.pool * w.pool * steps));
    with_levels(coded, steps, [&](auto levels) {
        if (w.pool == 1)
            return parallel_blocks(w.sites() * w.channels, kNeuronsPerTask, threads, [&](int64_t from, int64_t number) {
                write_vectors(values + from, number, [&](int64_t i, int64_t n) {
                    return __builtin_convertvector(levels(bytes + from + i, n), Vec) / most;
                });
            });
        each_window(w, threads, [&](int64_t cell, int64_t first) {
            write_vectors(values + cell * w.channels, w.channels, [&](int64_t c, int64_t n) {
                Ints sum{};
                each_unit(w, first, [&](int64_t site) { sum += levels(bytes + site * w.channels + c, n); });
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

void windowed_earliest_gradient(const float* gradient, const uint8_t* bytes, const uint8_t* earliest, bool coded,
                                const Windows& w, int64_t steps, int threads, float* values_gradient) {
    const Codes how(steps);
    const int lowest = how.late + how.first - 1, parts = static_cast<int>(how.parts);
    clear_rest(w, threads, values_gradient);
    with_levels(coded, steps, [&](auto levels) {
        each_window(w, threads, [&](int64_t cell, int64_t first) {
            for (int64_t c = 0; c < w.channels; c += kLanes) {
                const int64_t at = cell * w.channels + c, count = std::min<int64_t>(kLanes, w.channels - c);
                const Vec sent = load_some(gradient + at, count);
                const Ints level = levels(earliest + at, count);
                // the largest byte of this level; of codes a part of it
                Ints most = coded ? lowest - level * parts : static_cast<int>(steps) - level;
                most = level == 0 ? Ints{} + 255 : most;
                each_unit(w, first, [&](int64_t site) {
                    const int64_t unit = site * w.channels + c;
                    const auto wins = reinterpret_cast<Ints>(widen_some(bytes + unit, count)) <= most;
                    most = wins ? Ints{} - 1 : most;  // the first one alone
                    write_vectors(values_gradient + unit, count, [&](int64_t, int64_t) { return wins ? sent : Vec{}; });
                });
            }
        });
    });
}

}  // namespace firstspike
