// The CPU kernels as a Python module. The same sources are built once for each instruction set; FIRSTSPIKE_MODULE is its name.
#include <dlfcn.h>

#include "../cpu/layer/tiles.h"
#include "../cpu/runtime/parallel.h"
#include "errors.h"
#include "geometry.h"
#include "subjects.h"

namespace firstspike::bindings {

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// Whether a library of this process has its GOMP_parallel there.
bool is_gomp_parallel(std::uintptr_t address) {
    const auto* at = reinterpret_cast<const void*>(address);
    Dl_info found;
    if (dladdr(at, &found) == 0 || found.dli_fname == nullptr) return false;
    void* library = dlopen(found.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) return false;
    const bool same = dlsym(library, "GOMP_parallel") == at;
    dlclose(library);
    return same;
}

void share(std::uintptr_t gomp_parallel) {
    if (gomp_parallel != 0 && !is_gomp_parallel(gomp_parallel))
        fail("gomp_parallel must be 0 or the address of GOMP_parallel in a library of this process, got " +
             std::to_string(gomp_parallel));
    share_openmp_pool(gomp_parallel);
}

}  // namespace

PYBIND11_MODULE(FIRSTSPIKE_MODULE, m) {
    m.doc() = "firstspike's CPU kernels for one instruction set";
    translate_errors();
    m.attr("lanes") = kLanes;
    m.attr("tile") = kTile;
    m.attr("sanitized") = kSanitized;
    m.def("share_openmp_pool", &share, py::arg("gomp_parallel"),
          "Run on the OpenMP pool whose GOMP_parallel has this address; 0: on threads of our own.");
    bind_integers(m);
    bind_layer(m);
    bind_neurons(m);
    bind_pooling(m);
    bind_weights(m);
    bind_windowed(m);
}

}  // namespace firstspike::bindings
