// Which weight row an event takes to which site: `visit(site, row)` is called for every one, rows in elements.
#pragma once

#include "isa.h"
#include "params.h"

namespace firstspike::emulator {
namespace FIRSTSPIKE_EMULATOR_ISA {

template <class Visit>
[[gnu::always_inline]] inline void visit_linear(const Layer& layer, int32_t event, Visit visit) {
    int32_t row = event;
    if (layer.pool > 1) {
        const int c = event % layer.in_c, at = event / layer.in_c;
        const int y = at / layer.in_w / layer.pool, x = at % layer.in_w / layer.pool;
        if (y >= layer.in_h / layer.pool || x >= layer.in_w / layer.pool) return;
        row = (y * (layer.in_w / layer.pool) + x) * layer.in_c + c;
    }
    visit(0, static_cast<int64_t>(row) * layer.stride);
}

template <class Visit>
[[gnu::always_inline]] inline void visit_conv(const Layer& layer, int32_t event, Visit visit) {
    const int c = event % layer.in_c, at = event / layer.in_c;
    const int y = at / layer.in_w / layer.pool, x = at % layer.in_w / layer.pool;
    if (y >= layer.in_h / layer.pool || x >= layer.in_w / layer.pool) return;
    int64_t row = static_cast<int64_t>(c) * layer.kernel_h * layer.kernel_w * layer.stride;
    for (int ky = 0; ky < layer.kernel_h; ++ky) {
        const int ny = y + layer.pad_h - ky, oy = ny / layer.stride_h;
        const bool in_y = ny >= 0 && ny % layer.stride_h == 0 && oy < layer.out_h;
        for (int kx = 0; kx < layer.kernel_w; ++kx, row += layer.stride) {
            const int nx = x + layer.pad_w - kx, ox = nx / layer.stride_w;
            if (in_y && nx >= 0 && nx % layer.stride_w == 0 && ox < layer.out_w) visit(oy * layer.out_w + ox, row);
        }
    }
}

// Which neuron an event of the shortcut's source takes its one synapse to: `visit(site, channel)`.
template <class Visit>
[[gnu::always_inline]] inline void visit_shortcut(const Layer& layer, int32_t event, Visit visit) {
    const Shortcut& s = layer.shortcut;
    const int c = event % s.in_c, at = event / s.in_c, y = at / s.in_w, x = at % s.in_w;
    if (y % s.stride_h == 0 && x % s.stride_w == 0) visit(y / s.stride_h * layer.out_w + x / s.stride_w, c);
}

}  // namespace FIRSTSPIKE_EMULATOR_ISA
}  // namespace firstspike::emulator
