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
Doubles least_of(Doubles a, Doubles b) { return b < a ? b : a; }
Doubles most_of(Doubles a, Doubles b) { return a < b ? b : a; }
Doubles clamped(Doubles x, Doubles least, Doubles most) { return least_of(most_of(x, least), most); }
// From 0 to 2^51.
Doubles floor_of(Doubles x) {
    const Doubles whole = (x + 0x1p52) - 0x1p52;
    return whole > x ? whole - 1.0 : whole;
}
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

// Bytes are codes of a window of as many steps; a code of more steps holds two levels, about.
int coded_steps(int64_t window) { return window > kMostCodedSteps ? 128 : static_cast<int>(window); }

// The parameters of the channels from c on.
struct Channels {
    Doubles center{}, inverse = doubles(1.0), gamma = doubles(1.0), beta, clip;
    bool normal;
    Doubles low, high;  // of n times the sign of gamma, where v is 0 and the clip

    Channels(const WindowedNeurons& n, int64_t c)
        : beta(channels_from(n.beta, n.channels, c, 0.0)),
          clip(n.clips == 1 ? doubles(static_cast<double>(n.clip[0])) : channels_from(n.clip, n.channels, c, 1.0)),
          normal(n.moments != nullptr) {
        if (normal) {
            center = channels_from(n.moments, n.channels, c, 0.0);
            const Doubles variance = channels_from(n.moments + n.channels, n.channels, c, 1.0) + n.eps;
            for (int i = 0; i < kDoubles; ++i) inverse[i] = std::sqrt(variance[i]);
            inverse = 1.0 / inverse;
            gamma = channels_from(n.gamma, n.channels, c, 1.0);
        }
        const Doubles per = 1.0 / most_of(size(), doubles(1e-30)), end = doubles(kMostDeviations);
        low = clamped(-beta * per, -end, end), high = clamped((clip - beta) * per, -end, end);
    }
    Doubles size() const { return gamma < 0.0 ? -gamma : gamma; }
    Doubles sign() const { return gamma < 0.0 ? doubles(-1.0) : doubles(1.0); }
};

// How the neurons of channels are codes (kernels.h). Codes below `early` are above the clip, those from `late` on below it.
// Counted from code late - 1 on, the level a and the number of cells before the neuron's, each at most `cells`, add up; a level
// has one cell less than parts, and `skipped` cells come before the first one. All are whole numbers.
struct Code {
    Doubles late, early, parts, skipped;

    // Of these steps, with parts and codes outside the clip as wide as 256 codes of 2 kMostDeviations allow.
    Code(const Channels& c, int number) {
        const Doubles per = number / c.clip, slope = per * c.size(), shift = per * c.beta + 0.5;  // of U = T u + 1/2 in n
        const Doubles end = doubles(kMostDeviations), steps = doubles(number), one = doubles(1.0);
        const Doubles known = c.normal ? slope + shift : doubles(std::nan(""));
        const auto inside = known - known == 0.0;  // finite
        const Doubles low = inside ? c.low : -end, high = inside ? c.high : end;
        const Doubles first = inside ? clamped(slope * low + shift, doubles(0.5), steps + 0.5) : doubles(0.5);
        const Doubles last = inside ? clamped(slope * high + shift, doubles(0.5), steps + 0.5) : steps + 0.5;
        const Doubles share = (high - low) / (2 * kMostDeviations), wanted = share * ((250 - steps) / (last - first) + 1);
        parts = last > first ? floor_of(clamped(wanted, one, floor_of(kMostParts / (steps + 1)))) : one;
        const auto cells_before = [&](Doubles level) { return floor_of(parts * level) - floor_of(level); };
        skipped = cells_before(first);
        const Doubles used = steps + 1 + least_of(cells_before(last) - skipped, 253 - steps), rest = 256 - used;
        const Doubles below = share < 1.0 ? (low + kMostDeviations) / (2 * kMostDeviations * (1.0 - share)) : doubles(0.5);
        late = 256 - clamped(floor_of(rest * below + 0.5), one, rest - 1), early = late - used;
    }
    Code(const float* scales, int64_t channels, int64_t c)
        : parts(channels_from(scales + channels, channels, c, 1.0)),
          skipped(channels_from(scales + 2 * channels, channels, c, 0.0)) {
        const Doubles ends = channels_from(scales, channels, c, 0.0);
        late = floor_of(ends / 256), early = ends - 256 * late;
    }
    void write(float* scales, int64_t channels, int64_t c) const {
        write_channels(scales, channels, c, 256 * late + early);
        write_channels(scales + channels, channels, c, parts), write_channels(scales + 2 * channels, channels, c, skipped);
    }
    // From an end of the clip, in U, to the middle of the code there, so that beyond it the line below is never taken.
    Doubles edge() const { return parts > 1.0 ? doubles(0.25) : doubles(0.5); }
    // Codes outside the clip per n.
    Doubles per_deviation(const Channels& c) const {
        return (256 - late + early) / most_of(2 * kMostDeviations - c.high + c.low, doubles(1e-3));
    }
};

// What the neurons' parameters are in the arithmetic of `fire`: of d = z - center the level U = T u + 1/2; and the code, counted
// from the last one so that it rises with u. kLast: of a level's parts, the middle of the last one.
enum {
    kCenter,
    kScale,
    kShift,
    kParts,
    kSkipped,
    kLast,
    kCells,
    kFirst,
    kOutside,
    kBelow,
    kBelowEnd,
    kAbove,
    kAboveFrom,
    kFolded
};

RowParameters<kFolded> folded(const WindowedNeurons& n, int steps, float* scales, int64_t width) {
    RowParameters<kFolded> f(n.channels, width);
    for (int64_t c = 0; c < n.channels; c += kDoubles) {
        const Channels of(n, c);
        const Doubles slope = steps / of.clip;
        f.set(kCenter, c, of.center);
        f.set(kScale, c, slope * of.gamma * of.inverse);
        f.set(kShift, c, slope * of.beta + 0.5);
        if (!scales) continue;
        const Code code(of, steps);
        const Doubles per = code.per_deviation(of), first = 256 - code.late, above = 256 - code.early;
        code.write(scales, n.channels, c);
        f.set(kParts, c, code.parts);
        f.set(kSkipped, c, code.skipped);
        f.set(kLast, c, code.parts - 0.5 - code.skipped);
        f.set(kCells, c, above - first - steps - 1);
        f.set(kFirst, c, first);
        f.set(kOutside, c, of.sign() * of.inverse * per);
        f.set(kBelow, c, first - of.low * per);
        f.set(kBelowEnd, c, first - 1);
        f.set(kAbove, c, above - of.high * per);
        f.set(kAboveFrom, c, above);
    }
    f.repeat();
    return f;
}

// Codes as levels U in the middle of their part: where a cell was counted in, it is on the line, else a whole level below or
// above. Below the clip U is at most -1/4, above it at least T + 5/4.
enum { kMostOf, kSlope, kShiftOf, kLeastOf, kDecoded };

template <int N>
void decode(const Code& code, int steps, RowParameters<N>& p, int64_t c) {
    p.set(kMostOf, c, code.late - code.edge());
    p.set(kSlope, c, -1.0 / code.parts);
    p.set(kShiftOf, c, (code.late - 0.5 + code.skipped) / code.parts);
    p.set(kLeastOf, c, code.early + steps + code.edge());
}

// p: of `decode`.
FIRSTSPIKE_INLINE Vec level_of(Ints byte, const float* p) {
    const Vec code = __builtin_convertvector(byte, Vec);
    const Vec most = take(p, kMostOf) - code, line = code * take(p, kSlope) + take(p, kShiftOf);
    return larger(take(p, kLeastOf) - code, most < line ? most : line);
}

FIRSTSPIKE_INLINE Ints read_bytes(const uint8_t* bytes, int64_t count) {
    return reinterpret_cast<Ints>(widen_some(bytes, count));
}
FIRSTSPIKE_INLINE void write_bytes(uint8_t* out, Ints words, int64_t count) {
    narrow_some(out, reinterpret_cast<Words>(words), count);
}

template <bool kCodes>
void fire(const float* z, const RowParameters<kFolded>& f, int steps, int64_t neurons, uint8_t* times, uint8_t* codes) {
    const Vec half = splat(0.5f), most = splat(static_cast<float>(steps) + 0.5f), last_code = splat(255.0f);
    const auto neurons_from = [&](int64_t i, int64_t count) FIRSTSPIKE_ALWAYS_INLINE {
        const float* p = f.from(i);
        const Vec from_center = load_some(z + i, count) - take(p, kCenter);
        const Vec level = from_center * take(p, kScale) + take(p, kShift);
        const Vec held = larger(level, Vec{});  // 0 of a NaN, which is no integer
        const Ints a = __builtin_convertvector(held < most ? held : most, Ints);
        write_bytes(times + i, a == 0 ? Ints{} + kSilent : steps - a, count);
        if constexpr (kCodes) {
            const Vec whole = __builtin_convertvector(a, Vec);
            const Vec part = level * take(p, kParts) - take(p, kSkipped);
            const Vec last = whole * take(p, kParts) + take(p, kLast);  // rounding reaches no other level's parts
            const Vec held_part = part < last ? part : last, most_cells = whole + take(p, kCells);
            const Vec inside = take(p, kFirst) + larger(held_part < most_cells ? held_part : most_cells, whole);
            const auto above = level > most;
            const Vec line = from_center * take(p, kOutside) + (above ? take(p, kAbove) : take(p, kBelow));
            const Vec top = above ? last_code : take(p, kBelowEnd), held_line = line < top ? line : top;
            const Vec outside = larger(held_line, above ? take(p, kAboveFrom) : Vec{});  // 0 of a NaN
            const auto in_clip = (level >= half) & (level <= most);
            const Vec from_last = larger(in_clip ? inside : outside, Vec{});  // 0 of a NaN, whatever parameters give
            const Vec held_last = from_last < last_code ? from_last : last_code;
            write_bytes(codes + i, 255 - __builtin_convertvector(held_last, Ints), count);
        }
    };
    int64_t i = 0;
    for (; i + kLanes <= neurons; i += kLanes) neurons_from(i, int64_t{kLanes});
    if (i < neurons) neurons_from(i, neurons - i);
}

// run(levels, rows), where levels(bytes, at, count) are the levels a of `count` times or codes, at most a vector, from place `at`
// of a row on.
template <class Run>
void with_levels(const float* scales, int64_t scaled, int64_t window, const Rows& rows, Run&& run) {
    const auto steps = static_cast<int>(window);
    if (!scales)
        return run([steps](const uint8_t* times, int64_t, int64_t count) FIRSTSPIKE_ALWAYS_INLINE {
            const Ints t = read_bytes(times, count);
            return t == kSilent ? Ints{} : steps - t;
        });
    RowParameters<kDecoded> p(scaled, rows.width);
    for (int64_t c = 0; c < scaled; c += kDoubles) decode(Code(scales, scaled, c), steps, p, c);
    p.repeat();
    const Vec most = splat(static_cast<float>(steps));
    run([&p, most](const uint8_t* codes, int64_t at, int64_t count) FIRSTSPIKE_ALWAYS_INLINE {
        const Vec level = larger(level_of(read_bytes(codes, count), p.from(at)), Vec{});
        return __builtin_convertvector(level < most ? level : most, Ints);
    });
}

// The gradient of a current is along times that of the value, where inside, less turn n + mean, which are lines in the level.
enum { kAlong = kDecoded, kTurn, kMeanBelow, kMeanAbove, kInsideTurn, kInsideMean, kLines };

template <bool kBatch>
void current_gradient(const float* gradient, const uint8_t* codes, const RowParameters<kLines>& lines, float end, int64_t neurons,
                      float* out) {
    write_vectors(out, neurons, [&](int64_t i, int64_t count) {
        const float* p = lines.from(i);
        const Vec level = level_of(read_bytes(codes + i, count), p);
        const auto above = level > end, inside = (level > Vec{}) & (level < end);
        const Vec sent = inside ? load_some(gradient + i, count) * take(p, kAlong) : Vec{};
        if constexpr (!kBatch) return sent;
        const Vec mean = above ? take(p, kMeanAbove) : take(p, kMeanBelow);
        const Vec in = take(p, kInsideMean) + level * take(p, kInsideTurn);
        return sent - (inside ? in : mean + level * take(p, kTurn));
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
    for (int64_t c = 0; c < n.channels; c += kDoubles) decode(Code(scales, n.channels, c), steps, lines, c);
    lines.repeat();
    const Buffer<double> sums =
        sums_over_sites(summed, n.channels, threads, [&](int64_t at, int64_t place, int64_t count, Vec& sum, Vec& along) {
            const Vec level = level_of(read_bytes(codes + at, count), lines.from(place));
            const Vec inside = (level > Vec{}) & (level < end) ? load_some(gradient + at, count) : Vec{};
            sum += inside;
            along += inside * level;
        });
    double shared_clip = 0.0;
    for (int64_t c = 0; c < n.channels; c += kDoubles) {
        const Channels of(n, c);
        const Code code(scales, n.channels, c);
        Doubles sum, along;
        std::memcpy(&sum, sums.data() + c, sizeof sum), std::memcpy(&along, sums.data() + n.channels + c, sizeof along);
        along = (along - 0.5 * sum) / steps;  // of u
        const auto seen = of.size() * (of.normal ? kLeastGamma : HUGE_VAL) > of.clip;
        const Doubles per_gamma = seen ? 1.0 / of.gamma : Doubles{}, per_clip = 1.0 / of.clip;
        const Doubles slope = of.clip * per_gamma, shift = of.beta * per_gamma;  // of n in u
        const Doubles product = slope * along - shift * sum, at_clip = -along * per_clip;
        write_channels(out.gamma, n.channels, c, product * per_clip);
        write_channels(out.beta, n.channels, c, sum * per_clip);
        if (n.clips > 1) write_channels(out.clip, n.channels, c, at_clip);
        for (int i = 0; i < kDoubles && c + i < n.channels; ++i) shared_clip += at_clip[i];
        const Doubles factor = of.gamma * of.inverse * per_clip,
                      each = factor * (batch ? 1.0 / static_cast<double>(n.sites) : 0.0);
        const Doubles mean = each * sum, turn = each * product * of.sign(), step = 1.0 / code.per_deviation(of);
        lines.set(kAlong, c, factor);
        lines.set(kTurn, c, turn * step);
        lines.set(kMeanBelow, c, mean + turn * (of.low + step * (code.edge() - 0.5)));
        lines.set(kMeanAbove, c, mean + turn * (of.high - step * (steps + 0.5 + code.edge())));
        lines.set(kInsideTurn, c, each * product * slope / steps);
        lines.set(kInsideMean, c, mean - each * product * (slope * 0.5 / steps + shift));
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

void windowed_values(const uint8_t* bytes, const float* scales, int64_t scaled, const Patches& p, int64_t steps, int threads,
                     float* values) {
    const Vec most = splat(static_cast<float>(p.pool * p.pool * steps));
    const Rows rows = long_rows(p.sites(), p.channels);
    with_levels(scales, scaled, steps, rows, [&](auto levels) {
        if (p.pool == 1)
            return each_row(rows, threads, [&](int64_t at, int64_t number) {
                write_vectors(values + at, number, [&](int64_t i, int64_t n) {
                    return __builtin_convertvector(levels(bytes + at + i, i, n), Vec) / most;
                });
            });
        each_patch(p, threads, [&](int64_t cell, int64_t first) {
            write_vectors(values + cell * p.channels, p.channels, [&](int64_t c, int64_t n) {
                Ints sum{};
                each_unit(p, first, [&](int64_t site) { sum += levels(bytes + site * p.channels + c, c, n); });
                return __builtin_convertvector(sum, Vec) / most;
            });
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

void windowed_earliest(const uint8_t* bytes, const Patches& p, int threads, uint8_t* earliest) {
    typedef uint8_t Chunk __attribute__((vector_size(16)));
    each_patch(p, threads, [&](int64_t cell, int64_t first) {
        const auto least_from = [&]<class Part>(Part least, int64_t c) {
            each_unit(p, first, [&](int64_t site) {
                Part byte;
                std::memcpy(&byte, bytes + site * p.channels + c, sizeof byte);
                least = byte < least ? byte : least;
            });
            std::memcpy(earliest + cell * p.channels + c, &least, sizeof least);
        };
        int64_t c = 0;
        for (; c + 16 <= p.channels; c += 16) least_from(~Chunk{}, c);
        for (; c < p.channels; ++c) least_from(uint8_t{255}, c);
    });
}

void windowed_earliest_gradient(const float* gradient, const uint8_t* bytes, const uint8_t* earliest, const float* scales,
                                int64_t scaled, const Patches& p, int64_t steps, int threads, float* values_gradient) {
    clear_rest(p, threads, values_gradient);
    with_levels(scales, scaled, steps, long_rows(p.sites(), p.channels), [&](auto levels) {
        each_patch(p, threads, [&](int64_t cell, int64_t first) {
            for (int64_t c = 0; c < p.channels; c += kLanes) {
                const int64_t at = cell * p.channels + c, count = std::min<int64_t>(kLanes, p.channels - c);
                const Vec sent = load_some(gradient + at, count);
                Ints sought = levels(earliest + at, c, count);
                each_unit(p, first, [&](int64_t site) {
                    const int64_t unit = site * p.channels + c;
                    const auto wins = levels(bytes + unit, c, count) == sought;
                    sought = wins ? Ints{} - 1 : sought;  // the first one alone
                    write_vectors(values_gradient + unit, count, [&](int64_t, int64_t) { return wins ? sent : Vec{}; });
                });
            }
        });
    });
}

}  // namespace firstspike
