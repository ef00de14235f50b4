// Compiled for the module's instruction set, and where processors may have better instructions for dot products a second time for
// these, as FIRSTSPIKE_EXTENDED: VNNI beyond x86-64-v4, sdot beyond armv8.
#include "integer_dot.h"

#include <algorithm>
#include <cstring>

#include "../core/processor.h"
#include "simd/vector.h"

#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace firstspike {

struct IntegerDots {
    IntegerDot bytes, words;
};
extern const IntegerDots extended_dots;

namespace {

#if defined(__AVX512VNNI__)
constexpr int kVectorBytes = 64, kRows = 12;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32, kRows = 4;
#elif defined(__ARM_NEON)
constexpr int kVectorBytes = 16, kRows = 12;
#else
constexpr int kVectorBytes = 16, kRows = 4;
#endif
constexpr int kVectorColumns = kVectorBytes / 4;
typedef int32_t Sums __attribute__((vector_size(kVectorBytes)));  // or parts of them, or groups of values or weights

constexpr int64_t kNoLimit = int64_t{1} << 62;  // `IntegerNet::add` sees to it that sums fit 32 bits

// Parts of sums of products: `add` adds those of values with weights, `widen` makes sums of 32 bits of them.
struct WordDot {
    using Value = int16_t;
    static constexpr int64_t kLargest = INT16_MAX, kLimit = kNoLimit;

    static Sums widen(Sums part) { return part; }
    static Sums add(Sums part, Sums values, Sums weights) {
#if defined(__AVX512VNNI__)
        return reinterpret_cast<Sums>(_mm512_dpwssd_epi32(reinterpret_cast<__m512i>(part), reinterpret_cast<__m512i>(values),
                                                          reinterpret_cast<__m512i>(weights)));
#elif defined(__AVX2__)
        const __m256i products = _mm256_madd_epi16(reinterpret_cast<__m256i>(values), reinterpret_cast<__m256i>(weights));
        __asm__("vpaddd %1, %0, %0" : "+x"(part) : "x"(products));  // in place: compilers move the parts about
        return part;
#elif defined(__SSE2__)
        return part +
               reinterpret_cast<Sums>(_mm_madd_epi16(reinterpret_cast<__m128i>(values), reinterpret_cast<__m128i>(weights)));
#elif defined(__ARM_NEON)
        const auto a = reinterpret_cast<int16x8_t>(values), b = reinterpret_cast<int16x8_t>(weights);
        const int32x4_t low = vmull_s16(vget_low_s16(a), vget_low_s16(b)), high = vmull_high_s16(a, b);
        return part + reinterpret_cast<Sums>(vpaddq_s32(low, high));
#else
        for (int i = 0; i < kVectorColumns; ++i)
            part[i] +=
                static_cast<int16_t>(values[i]) * static_cast<int16_t>(weights[i]) + (values[i] >> 16) * (weights[i] >> 16);
        return part;
#endif
    }
};

#if defined(__AVX512VNNI__) || defined(__AVX2__) || defined(__ARM_FEATURE_DOTPROD)
#define FIRSTSPIKE_BYTE_DOT
struct ByteDot {
    using Value = uint8_t;
#if defined(__AVX512VNNI__)
    static constexpr int64_t kLargest = 255, kLimit = kNoLimit;
    static Sums widen(Sums part) { return part; }
    static Sums add(Sums part, Sums values, Sums weights) {
        return reinterpret_cast<Sums>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(part), reinterpret_cast<__m512i>(values),
                                                          reinterpret_cast<__m512i>(weights)));
    }
#elif defined(__AVX2__)
    // A part is two of 16 bits. Two products of values up to 127 fit them.
    static constexpr int64_t kLargest = 127, kLimit = int64_t{1} << 15;
    static Sums widen(Sums part) {
        return reinterpret_cast<Sums>(_mm256_madd_epi16(reinterpret_cast<__m256i>(part), _mm256_set1_epi16(1)));
    }
    static Sums add(Sums part, Sums values, Sums weights) {
        const __m256i products = _mm256_maddubs_epi16(reinterpret_cast<__m256i>(values), reinterpret_cast<__m256i>(weights));
        __asm__("vpaddw %1, %0, %0" : "+x"(part) : "x"(products));
        return part;
    }
#else
    static constexpr int64_t kLargest = 127, kLimit = kNoLimit;  // sdot takes signed values
    static Sums widen(Sums part) { return part; }
    static Sums add(Sums part, Sums values, Sums weights) {
        return reinterpret_cast<Sums>(vdotq_s32(reinterpret_cast<int32x4_t>(part), reinterpret_cast<int8x16_t>(values),
                                                reinterpret_cast<int8x16_t>(weights)));
    }
#endif
};
#endif

// The sums of R rows with a block, or, of one vector, with its first half.
template <class Dot, int R, int kVectors>
void multiply_rows(const typename Dot::Value* rows, int64_t stride, int64_t groups, int64_t most, const int8_t* block,
                   int32_t* sums) {
    constexpr int64_t kTogether = 4 / sizeof(typename Dot::Value);
    for (int64_t from = 0; from < groups; from += most) {
        Sums part[R][kVectors] = {};
        const int64_t end = std::min(from + most, groups);
        for (int64_t g = from; g < end; ++g, block += 2 * kVectorBytes, rows += kTogether) {
            Sums weights[kVectors];
            unrolled<kVectors>(FIRSTSPIKE_BODY(v) { std::memcpy(&weights[v], block + v * kVectorBytes, kVectorBytes); });
            unrolled<R>(FIRSTSPIKE_BODY(r) {
                int32_t values;
                std::memcpy(&values, rows + r * stride, sizeof values);
                unrolled<kVectors>(FIRSTSPIKE_BODY(v) { part[r][v] = Dot::add(part[r][v], Sums{} + values, weights[v]); });
            });
        }
        unrolled<R>(FIRSTSPIKE_BODY(r) {
            unrolled<kVectors>(FIRSTSPIKE_BODY(v) {
                int32_t* to = sums + (2 * r + v) * kVectorColumns;
                Sums before{};
                if (from > 0) std::memcpy(&before, to, sizeof before);
                const Sums sum = before + Dot::widen(part[r][v]);
                std::memcpy(to, &sum, sizeof sum);
            });
        });
    }
}

template <class Dot>
int64_t multiply(const void* rows, int64_t number, int64_t stride, int64_t groups, int64_t most, const int8_t* block,
                 int64_t used, int32_t* sums) {
    const auto* values = static_cast<const typename Dot::Value*>(rows);
    const auto together = [&]<int R>() {
        if (used > kVectorColumns)
            multiply_rows<Dot, R, 2>(values, stride, groups, most, block, sums);
        else
            multiply_rows<Dot, R, 1>(values, stride, groups, most, block, sums);
        return int64_t{R};
    };
    return number >= kRows ? together.template operator()<kRows>()
           : number >= 4   ? together.template operator()<4>()
                           : together.template operator()<1>();
}

template <class Dot>
constexpr IntegerDot dot{4 / sizeof(typename Dot::Value), 2 * kVectorColumns, kRows, Dot::kLargest, Dot::kLimit, multiply<Dot>};

#if defined(FIRSTSPIKE_BYTE_DOT)
constexpr IntegerDots dots{dot<ByteDot>, dot<WordDot>};
#else
constexpr IntegerDots dots{{4, 0, 0, -1, 0, nullptr}, dot<WordDot>};
#endif
static_assert(kRows <= kMostDotRows && 2 * kVectorColumns <= kMostDotColumns);

}  // namespace

#if defined(FIRSTSPIKE_EXTENDED)
const IntegerDots extended_dots = dots;
#else
const IntegerDot& integer_dot(int64_t value, bool byte_weights) {
#if defined(FIRSTSPIKE_EXTENDS)  // the module has the extended ones
    static const IntegerDots& best = this_processor().dots ? extended_dots : dots;
#else
    const IntegerDots& best = dots;
#endif
    return byte_weights && value <= best.bytes.largest ? best.bytes : best.words;
}
#endif

}  // namespace firstspike
