// Surrogate derivatives of the firing step, sigma'(u) with u = V - threshold. The formulas and sources stand in
// python/firstspike/surrogate.py.
#pragma once

#include <cmath>

#include "macros.h"

namespace firstspike {

enum class SurrogateKind : int { triangle = 0, rectangle = 1, atan = 2, sigmoid = 3 };

struct Surrogate {
    SurrogateKind kind;
    float scale;  // width, or alpha

    // Half-width of the support; infinite for atan and sigmoid.
    FIRSTSPIKE_HOST_DEVICE float half_width() const {
        if (kind == SurrogateKind::triangle) return scale;
        if (kind == SurrogateKind::rectangle) return 0.5f * scale;
        return INFINITY;
    }

    FIRSTSPIKE_HOST_DEVICE float slope(float u) const {
        const float size = u < 0.0f ? -u : u;
        switch (kind) {
            case SurrogateKind::triangle: return size < scale ? (1.0f - size / scale) / scale : 0.0f;
            case SurrogateKind::rectangle: return size < 0.5f * scale ? 1.0f / scale : 0.0f;
            case SurrogateKind::atan: {
                const float x = 1.57079632679f * scale * u;
                return 0.5f * scale / (1.0f + x * x);
            }
            case SurrogateKind::sigmoid: {
                const float s = 1.0f / (1.0f + expf(-scale * u));
                return scale * s * (1.0f - s);
            }
        }
        return 0.0f;
    }
};

}  // namespace firstspike
