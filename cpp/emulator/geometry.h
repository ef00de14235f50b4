// Which weights an event takes to which site: `visit` is called for every one.
#pragma once

#include "isa.h"
#include "params.h"

namespace firstspike::emulator {
namespace FIRSTSPIKE_EMULATOR_ISA {

// Channel and place in the pooled map of an event; `lies` is false beyond the last whole block.
struct Pooled {
    int c, y, x;
    bool lies;
};

[[gnu::always_inline]] inline Pooled pooled(const Synapses& s, int32_t event) {
    const int c = event % s.in_c, at = event / s.in_c, y = at / s.in_w / s.pool, x = at % s.in_w / s.pool;
    return {c, y, x, y < s.in_h / s.pool && x < s.in_w / s.pool};
}

// visit(site, row), the row in elements of the weights.
template <class Visit>
[[gnu::always_inline]] inline void visit_linear(const Synapses& s, int32_t event, Visit visit) {
    int32_t row = event;
    if (s.pool > 1) {
        const Pooled p = pooled(s, event);
        if (!p.lies) return;
        row = (p.y * (s.in_w / s.pool) + p.x) * s.in_c + p.c;
    }
    visit(0, static_cast<int64_t>(row) * s.row);
}

template <class Visit>
[[gnu::always_inline]] inline void visit_conv(const Synapses& s, int32_t event, Visit visit) {
    const Pooled p = pooled(s, event);
    if (!p.lies) return;
    int64_t row = static_cast<int64_t>(p.c) * s.kernel_h * s.kernel_w * s.row;
    for (int ky = 0; ky < s.kernel_h; ++ky) {
        const int ny = p.y + s.pad_h - ky, oy = ny / s.stride_h;
        const bool in_y = ny >= 0 && ny % s.stride_h == 0 && oy < s.out_h;
        for (int kx = 0; kx < s.kernel_w; ++kx, row += s.row) {
            const int nx = p.x + s.pad_w - kx, ox = nx / s.stride_w;
            if (in_y && nx >= 0 && nx % s.stride_w == 0 && ox < s.out_w) visit(oy * s.out_w + ox, row);
        }
    }
}

// visit(site, channel): an event has one synapse.
template <class Visit>
[[gnu::always_inline]] inline void visit_diagonal(const Synapses& s, int32_t event, Visit visit) {
    const Pooled p = pooled(s, event);
    if (p.lies && p.y % s.stride_h == 0 && p.x % s.stride_w == 0) visit(p.y / s.stride_h * s.out_w + p.x / s.stride_w, p.c);
}

}  // namespace FIRSTSPIKE_EMULATOR_ISA
}  // namespace firstspike::emulator
