// The CPU kernels as a Python module. The same sources are built once for each instruction set; FIRSTSPIKE_MODULE is its name.
#include <pybind11/pybind11.h>

#include "../cpu/layer/tiles.h"
#include "errors.h"
#include "subjects.h"

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

}  // namespace

PYBIND11_MODULE(FIRSTSPIKE_MODULE, m) {
    using namespace firstspike;
    m.doc() = "firstspike's CPU kernels for one instruction set";
    bindings::translate_errors();
    m.attr("lanes") = kLanes;
    m.attr("tile") = kTile;
    m.attr("sanitized") = kSanitized;
    bindings::bind_pool(m);
    bindings::bind_layer(m);
    bindings::bind_neurons(m);
    bindings::bind_trains(m);
    bindings::bind_weights(m);
    bindings::bind_windowed(m);
    bindings::bind_windows(m);
}
