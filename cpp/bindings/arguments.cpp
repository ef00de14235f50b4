#include "arguments.h"

#include <algorithm>
#include <memory>
#include <vector>

namespace firstspike::bindings {

int threads_from(int threads) { return std::clamp(threads, 1, 1024); }

WeightView weight_from(const Array& array, const Layer& l) {
    if (!array.holds<float>()) fail("weight must be float32");
    const auto* data = static_cast<const float*>(array.data());
    const int64_t taps = l.kernel_height * l.kernel_width;
    if (array.ndim == 2 && array.shape[0] == l.outputs && array.shape[1] == l.channels * taps) {
        const int64_t row = array.strides ? array.strides[0] : array.shape[1], column = array.strides ? array.strides[1] : 1;
        return {data, row, taps * column, l.kernel_width * column, column};
    }
    if (array.ndim != 4 || array.shape[0] != l.outputs || array.shape[1] != l.channels || array.shape[2] != l.kernel_height ||
        array.shape[3] != l.kernel_width)
        fail("weight does not have the geometry's shape");
    if (array.strides == nullptr) return {data, l.channels * taps, taps, l.kernel_width, 1};
    return {data, array.strides[0], array.strides[1], array.strides[2], array.strides[3]};
}

int64_t entries_of(const SupportArrays& arrays) { return std::get<1>(arrays).size() / 2; }

namespace {
// The largest of some bytes, -1 of none.
int largest(const uint8_t* bytes, int64_t count) {
    uint8_t most = 0;
    for (int64_t i = 0; i < count; ++i) most = std::max(most, bytes[i]);
    return count > 0 ? most : -1;
}
}  // namespace

SupportView support_from(const SupportArrays& arrays, int64_t sites, int64_t channels, int64_t steps) {
    const Tiles tiles{channels};
    const int64_t groups = sites * tiles.number(), entries = entries_of(arrays);
    const auto* place = input<uint8_t>(std::get<1>(arrays), "place", 2 * entries);
    const SupportView view{input<int64_t>(std::get<0>(arrays), "offset", groups + 1), place, place + entries};
    if (view.offset[0] != 0 || view.offset[groups] != entries) fail("offset must begin at 0 and end at the number of entries");
    for (int64_t g = 0; g < groups; ++g)
        if (view.offset[g] > view.offset[g + 1]) fail("offset must not decrease");
    // A look at all entries at once; only the last tile of a site may have fewer lanes than the others.
    const int64_t tiles_a_site = tiles.number(), last = tiles_a_site - 1;
    bool good = largest(view.step, entries) < steps && largest(view.lane, entries) < tiles.used(0);
    if (tiles.used(last) != tiles.used(0))
        for (int64_t g = last; g < groups; g += tiles_a_site)
            good = good && largest(view.lane + view.offset[g], view.offset[g + 1] - view.offset[g]) < tiles.used(last);
    if (!good) fail("a support entry is out of range");
    return view;
}

namespace {
template <class T>
py::array adopt(Buffer<T>&& buffer, std::vector<py::ssize_t> shape) {
    auto owner = std::make_unique<Buffer<T>>(std::move(buffer));
    T* data = owner->data();
    if (data == nullptr) return py::array_t<T>(shape);
    py::capsule capsule(owner.release(), [](void* p) { delete static_cast<Buffer<T>*>(p); });
    return py::array_t<T>(shape, data, capsule);
}
}  // namespace

py::array scratch_array(int64_t size) { return adopt(Buffer<float>(size), {size}); }

py::tuple to_python(Support&& s) {
    const int64_t entries = s.entries;
    return py::make_tuple(adopt(std::move(s.offset), {s.groups + 1}), adopt(std::move(s.slope), {entries}),
                          adopt(std::move(s.place), {2, entries}));
}

}  // namespace firstspike::bindings
