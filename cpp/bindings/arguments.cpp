#include "arguments.h"

#include <algorithm>
#include <cmath>
#include <memory>

namespace firstspike::bindings {

void fail(const std::string& message) { throw py::value_error(message); }

Layer layer_from(const Geometry& g) {
    const Layer l{g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10], g[11], g[12]};
    for (size_t i = 1; i < g.size(); ++i) {
        const bool padding = i == 9 || i == 10;
        if (g[i] < (padding ? 0 : 1) || g[i] > (int64_t{1} << 31)) fail("geometry[" + std::to_string(i) + "] is out of range");
    }
    if (l.batch < 0 || l.batch > (int64_t{1} << 31)) fail("batch is out of range");
    if (l.steps > kMaxSteps) fail("steps must be at most 254");
    if (l.cells_y() + 2 * l.pad_y < l.kernel_height || l.cells_x() + 2 * l.pad_x < l.kernel_width)
        fail("the kernel is larger than the padded input");
    const double rows = static_cast<double>(l.taps()) * static_cast<double>(l.channels);
    const double swapped = static_cast<double>(l.taps()) * static_cast<double>(l.outputs);
    if (rows > 4e9 || swapped > 4e9) fail("the layer has more weight rows than 32 bits count");
    return l;
}

Neuron neuron_from(const NeuronArguments& a) {
    const auto [threshold, decay, kind, scale] = a;
    if (!std::isfinite(threshold)) fail("threshold must be finite");
    if (!(decay > 0.0f && decay <= 1.0f)) fail("decay must be in (0, 1]");
    return {threshold, decay};
}

Surrogate surrogate_from(const NeuronArguments& a) {
    const auto [threshold, decay, kind, scale] = a;
    if (kind < 0 || kind > 3) fail("unknown surrogate kind");
    if (!(scale > 0.0f) || !std::isfinite(scale)) fail("the surrogate's width or alpha must be positive");
    return {static_cast<SurrogateKind>(kind), scale};
}

int threads_from(int threads) { return std::clamp(threads, 1, 1024); }

WeightView weight_from(const py::array& array, const Layer& l) {
    if (!py::isinstance<py::array_t<float>>(array)) fail("weight must be float32");
    if (array.ndim() != 4 || array.shape(0) != l.outputs || array.shape(1) != l.channels ||
        array.shape(2) != l.kernel_height || array.shape(3) != l.kernel_width)
        fail("weight does not have the geometry's shape");
    const auto stride = [&](int i) { return static_cast<int64_t>(array.strides(i)) / static_cast<int64_t>(sizeof(float)); };
    return {static_cast<const float*>(array.data()), stride(0), stride(1), stride(2), stride(3)};
}

int64_t entries_of(const SupportArrays& arrays) { return std::get<1>(arrays).size(); }

SupportView support_from(const SupportArrays& arrays, int64_t sites, int64_t channels, int64_t steps) {
    const Tiles tiles{channels};
    const int64_t groups = sites * tiles.number(), entries = entries_of(arrays);
    const SupportView view{input<int64_t>(std::get<0>(arrays), "offset", groups + 1),
                           input<uint8_t>(std::get<1>(arrays), "step", entries),
                           input<uint8_t>(std::get<2>(arrays), "lane", entries)};
    if (view.offset[0] != 0 || view.offset[groups] != entries) fail("offset must begin at 0 and end at the number of entries");
    for (int64_t g = 0; g < groups; ++g) {
        const int64_t from = view.offset[g], to = view.offset[g + 1];
        if (from > to || to > entries) fail("offset must not decrease");
        uint8_t step = 0, lane = 0;
        for (int64_t e = from; e < to; ++e) {
            step = std::max(step, view.step[e]);
            lane = std::max(lane, view.lane[e]);
        }
        if (from < to && (step >= steps || lane >= tiles.used(g % tiles.number()))) fail("a support entry is out of range");
    }
    return view;
}

namespace {
template <class T>
py::array adopt(Buffer<T>&& buffer, int64_t size) {
    auto owner = std::make_unique<Buffer<T>>(std::move(buffer));
    T* data = owner->data();
    if (data == nullptr) return py::array_t<T>(0);
    py::capsule capsule(owner.release(), [](void* p) { delete static_cast<Buffer<T>*>(p); });
    return py::array_t<T>(size, data, capsule);
}
}  // namespace

py::tuple to_python(Support&& s) {
    const int64_t entries = s.entries;
    return py::make_tuple(adopt(std::move(s.offset), s.groups + 1), adopt(std::move(s.slope), entries),
                          adopt(std::move(s.step), entries), adopt(std::move(s.lane), entries));
}

}  // namespace firstspike::bindings
