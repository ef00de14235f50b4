// Surrogate derivatives of the firing step, sigma'(u) with u = V - threshold (docs/model.md, section "Surrogate and support").
// The formulas and sources stand in python/firstspike/surrogate.py.
#pragma once

#include <cmath>

#include "macros.h"

namespace firstspike {

// In the order of KINDS in python/firstspike/surrogate.py.
enum class SurrogateKind : int { triangle, rectangle, atan, sigmoid };
constexpr int kSurrogateKinds = 4;

// The slope of the kinds with a finite support, inside of it: peak - fall |u|. A template over the value, as the neuron's.
template <class Value>
struct FiniteSlope {
    Value peak, fall;

    FIRSTSPIKE_HOST_DEVICE Value operator()(Value size_of_u) const { return peak - fall * size_of_u; }
};

struct Surrogate {
    SurrogateKind kind;
    float scale;  // width, or alpha

    FIRSTSPIKE_HOST_DEVICE bool finite() const { return kind == SurrogateKind::triangle || kind == SurrogateKind::rectangle; }
    // Half-width of the support; infinite for atan and sigmoid.
    FIRSTSPIKE_HOST_DEVICE float half_width() const {
        if (kind == SurrogateKind::triangle) return scale;
        if (kind == SurrogateKind::rectangle) return 0.5f * scale;
        return INFINITY;
    }
    FIRSTSPIKE_HOST_DEVICE float peak() const { return 1.0f / scale; }
    FIRSTSPIKE_HOST_DEVICE float fall() const { return kind == SurrogateKind::triangle ? 1.0f / scale / scale : 0.0f; }

    FIRSTSPIKE_HOST_DEVICE float slope(float u) const {
        const float size = u < 0.0f ? -u : u;
        if (finite()) return size < half_width() ? FiniteSlope<float>{peak(), fall()}(size) : 0.0f;
        if (kind == SurrogateKind::atan) {
            const float x = 1.57079632679f * scale * u;
            return 0.5f * scale / (1.0f + x * x);
        }
        const float s = 1.0f / (1.0f + expf(-scale * u));
        return scale * s * (1.0f - s);
    }
};

}  // namespace firstspike
