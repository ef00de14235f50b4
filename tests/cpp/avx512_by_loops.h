// The AVX-512 intrinsics that the kernels use, as loops over the lanes: with this file included first, the kernels' code for
// AVX-512 is compiled for AVX2, and can be tested on a processor without AVX-512 (`nox -s avx512`). An intrinsic that is missing
// here does not compile.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

// The kernels ask for these.
#define __AVX512F__ 1
#define __AVX512BW__ 1
#define __AVX512VL__ 1

namespace by_loops {

typedef int32_t Ints __attribute__((vector_size(64)));
typedef int64_t Longs __attribute__((vector_size(64)));
typedef uint8_t Octets __attribute__((vector_size(64)));
typedef uint8_t Sixteen __attribute__((vector_size(16)));

// The same bits as another type.
template <class V, class W>
V as(W value) {
    static_assert(sizeof(V) == sizeof(W));
    V out;
    std::memcpy(&out, &value, sizeof out);
    return out;
}

// Bit i is set where condition(i) holds.
template <class Condition>
uint64_t mask(int lanes, Condition condition) {
    uint64_t bits = 0;
    for (int i = 0; i < lanes; ++i) bits |= static_cast<uint64_t>(condition(i)) << i;
    return bits;
}

// The chosen lanes, in their order, then zeros.
template <class V>
V compressed(uint64_t chosen, V v) {
    V out{};
    for (int i = 0, n = 0; i < static_cast<int>(sizeof(V) / sizeof(v[0])); ++i)
        if (chosen >> i & 1) out[n++] = v[i];
    return out;
}

// Of `on` where a bit is set, else of `off`.
template <class V>
V blended(uint64_t chosen, V off, V on) {
    for (int i = 0; i < static_cast<int>(sizeof(V) / sizeof(off[0])); ++i)
        if (chosen >> i & 1) off[i] = on[i];
    return off;
}

// Reads chosen lanes only; the others are zeros.
template <class V>
V loaded(uint64_t chosen, const void* from) {
    V out{};
    const char* place = static_cast<const char*>(from);
    for (int i = 0; i < static_cast<int>(sizeof(V) / sizeof(out[0])); ++i, place += sizeof(out[0]))
        if (chosen >> i & 1) {
            auto value = out[i];
            std::memcpy(&value, place, sizeof value);
            out[i] = value;
        }
    return out;
}

inline __m512i set1_epi8(char x) { return as<__m512i>(Octets{} + static_cast<uint8_t>(x)); }
inline __m512i set1_epi32(int x) { return as<__m512i>(Ints{} + x); }
inline __m512i set1_epi64(long long x) { return as<__m512i>(Longs{} + static_cast<int64_t>(x)); }
inline __m512i setzero_si512() { return __m512i{}; }
inline __m512i set_epi32(int f, int e, int d, int c, int b, int a, int i9, int i8, int i7, int i6, int i5, int i4, int i3, int i2,
                         int i1, int i0) {
    return as<__m512i>(Ints{i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, a, b, c, d, e, f});
}
inline __m512i loadu_si512(const void* from) { return loaded<__m512i>(0xff, from); }
inline void storeu_ps(void* to, __m512 v) { std::memcpy(to, &v, sizeof v); }
inline void mask_storeu_ps(void* to, __mmask16 chosen, __m512 v) {
    for (int i = 0; i < 16; ++i)
        if (chosen >> i & 1) {
            const float value = v[i];
            std::memcpy(static_cast<char*>(to) + 4 * i, &value, 4);
        }
}
inline __m512 maskz_loadu_ps(__mmask16 chosen, const void* from) { return loaded<__m512>(chosen, from); }
inline __m512i maskz_loadu_epi8(__mmask64 chosen, const void* from) { return as<__m512i>(loaded<Octets>(chosen, from)); }
inline __m128i maskz_loadu_sixteen(__mmask16 chosen, const void* from) { return as<__m128i>(loaded<Sixteen>(chosen, from)); }
inline __mmask16 cmp_ps_mask(__m512 a, __m512 b, int how) {
    return static_cast<__mmask16>(mask(16, [&](int i) { return how == _CMP_GT_OQ ? a[i] > b[i] : a[i] >= b[i]; }));
}
inline __mmask16 test_epi32_mask(__m512i a, __m512i b) {
    const auto both = as<Ints>(a & b);
    return static_cast<__mmask16>(mask(16, [&](int i) { return both[i] != 0; }));
}
inline __mmask64 cmpeq_epi8_mask(__m512i a, __m512i b) {
    const auto x = as<Octets>(a), y = as<Octets>(b);
    return mask(64, [&](int i) { return x[i] == y[i]; });
}
inline __mmask64 mask_cmplt_epu8_mask(__mmask64 chosen, __m512i a, __m512i b) {
    const auto x = as<Octets>(a), y = as<Octets>(b);
    return mask(64, [&](int i) { return (chosen >> i & 1) && x[i] < y[i]; });
}
inline __m512 mask_blend_ps(__mmask16 chosen, __m512 off, __m512 on) { return blended(chosen, off, on); }
inline __m512i mask_blend_epi32(__mmask16 chosen, __m512i off, __m512i on) {
    return as<__m512i>(blended(chosen, as<Ints>(off), as<Ints>(on)));
}
inline __m512 maskz_compress_ps(__mmask16 chosen, __m512 v) { return compressed(chosen, v); }
inline __m512i maskz_compress_epi32(__mmask16 chosen, __m512i v) { return as<__m512i>(compressed(chosen, as<Ints>(v))); }
inline __m512 maskz_expand_ps(__mmask16 chosen, __m512 v) {
    __m512 out{};
    for (int i = 0, n = 0; i < 16; ++i)
        if (chosen >> i & 1) out[i] = v[n++];
    return out;
}
inline __m128i cvtepi32_epi8(__m512i v) {
    const auto words = as<Ints>(v);
    Sixteen out{};
    for (int i = 0; i < 16; ++i) out[i] = static_cast<uint8_t>(words[i]);
    return as<__m128i>(out);
}
inline __m512i cvtepu8_epi32(__m128i v) {
    const auto bytes = as<Sixteen>(v);
    Ints out{};
    for (int i = 0; i < 16; ++i) out[i] = bytes[i];
    return as<__m512i>(out);
}
inline __m512i cvtepu8_epi64(__m128i v) {
    const auto bytes = as<Sixteen>(v);
    Longs out{};
    for (int i = 0; i < 8; ++i) out[i] = bytes[i];
    return as<__m512i>(out);
}
inline __m512i add_epi32(__m512i a, __m512i b) { return as<__m512i>(as<Ints>(a) + as<Ints>(b)); }
inline __m512i or_epi64(__m512i a, __m512i b) { return a | b; }
inline __m512i maskz_sllv_epi64(__mmask8 chosen, __m512i a, __m512i by) {
    const auto x = as<Longs>(a), n = as<Longs>(by);
    Longs out{};
    for (int i = 0; i < 8; ++i)
        if ((chosen >> i & 1) && static_cast<uint64_t>(n[i]) < 64)
            out[i] = static_cast<int64_t>(static_cast<uint64_t>(x[i]) << n[i]);
    return as<__m512i>(out);
}
inline long long reduce_or_epi64(__m512i v) {
    long long out = 0;
    for (int i = 0; i < 8; ++i) out |= v[i];
    return out;
}
inline __m512 mask_i32gather_ps(__m512 off, __mmask16 chosen, __m512i at, const void* from, int scale) {
    const auto place = as<Ints>(at);
    for (int i = 0; i < 16; ++i)
        if (chosen >> i & 1) {
            float value;
            std::memcpy(&value, static_cast<const char*>(from) + static_cast<int64_t>(place[i]) * scale, 4);
            off[i] = value;
        }
    return off;
}

}  // namespace by_loops

#define _mm512_add_epi32 by_loops::add_epi32
#define _mm512_cmp_ps_mask by_loops::cmp_ps_mask
#define _mm512_cmpeq_epi8_mask by_loops::cmpeq_epi8_mask
#define _mm512_cvtepi32_epi8 by_loops::cvtepi32_epi8
#define _mm512_cvtepu8_epi32 by_loops::cvtepu8_epi32
#define _mm512_cvtepu8_epi64 by_loops::cvtepu8_epi64
#define _mm512_loadu_si512 by_loops::loadu_si512
#define _mm512_mask_blend_epi32 by_loops::mask_blend_epi32
#define _mm512_mask_blend_ps by_loops::mask_blend_ps
#define _mm512_mask_cmplt_epu8_mask by_loops::mask_cmplt_epu8_mask
#define _mm512_mask_i32gather_ps by_loops::mask_i32gather_ps
#define _mm512_mask_storeu_ps by_loops::mask_storeu_ps
#define _mm512_maskz_compress_epi32 by_loops::maskz_compress_epi32
#define _mm512_maskz_compress_ps by_loops::maskz_compress_ps
#define _mm512_maskz_expand_ps by_loops::maskz_expand_ps
#define _mm512_maskz_loadu_epi8 by_loops::maskz_loadu_epi8
#define _mm512_maskz_loadu_ps by_loops::maskz_loadu_ps
#define _mm512_maskz_sllv_epi64 by_loops::maskz_sllv_epi64
#define _mm512_or_epi64 by_loops::or_epi64
#define _mm512_reduce_or_epi64 by_loops::reduce_or_epi64
#define _mm512_set1_epi32 by_loops::set1_epi32
#define _mm512_set1_epi64 by_loops::set1_epi64
#define _mm512_set1_epi8 by_loops::set1_epi8
#define _mm512_set_epi32 by_loops::set_epi32
#define _mm512_setzero_si512 by_loops::setzero_si512
#define _mm512_storeu_ps by_loops::storeu_ps
#define _mm512_test_epi32_mask by_loops::test_epi32_mask
#define _mm_maskz_loadu_epi8 by_loops::maskz_loadu_sixteen
