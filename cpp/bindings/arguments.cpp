#include "arguments.h"

#include <memory>
#include <vector>

namespace firstspike::bindings {

Patches patches_from(const MapSizes& sizes, int64_t pool, int64_t widest) {
    const auto [samples, height, width, channels] = sizes;
    for (const int64_t size : {samples, height, width}) checked("sizes", size, 0, kMostElements);
    neurons_from(elements({samples, height, width}), channels);
    return {samples, height, width, channels, checked("pool", pool, 1, widest)};
}

WeightView weight_from(const Array& array, const Layer& l) {
    if (!array.holds<float>()) fail("weight must be float32");
    if (!array.aligned<float>()) fail("weight must be aligned to its elements");
    const auto* data = static_cast<const float*>(array.memory());
    const int64_t taps = l.taps();
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

// Whether entry e + 1 comes after entry e in a group: by step, then by lane.
bool follows(const SupportView& v, int64_t e) {
    const bool later = v.step[e] < v.step[e + 1], same = v.step[e] == v.step[e + 1];
    return later | (same & (v.lane[e] < v.lane[e + 1]));
}

// How many of all entries do not follow the one before them; those that begin a group need not.
int64_t out_of_order(const SupportView& v, int64_t entries) {
    constexpr int64_t kBlock = 128;  // so that a byte counts
    int64_t number = 0;
    for (int64_t from = 0; from + 1 < entries; from += kBlock) {
        const int64_t to = std::min(from + kBlock, entries - 1);
        uint8_t here = 0;
        for (int64_t e = from; e < to; ++e) here = static_cast<uint8_t>(here + !follows(v, e));
        number += here;
    }
    return number;
}

// Empty, or what is wrong with a support whose first and last offset are right.
std::string wrong_with(const SupportView& v, const Tiles& tiles, int64_t groups, int64_t entries, int64_t steps) {
    for (int64_t g = 0; g < groups; ++g)
        if (v.offset[g] > v.offset[g + 1]) return "offset must not decrease";
    // A look at all entries at once; only the last tile of a site may have fewer lanes than the others.
    const int64_t tiles_per_site = tiles.number(), last = tiles_per_site - 1;
    bool good = largest(v.step, entries) < steps && largest(v.lane, entries) < tiles.used(0);
    if (tiles.used(last) != tiles.used(0))
        for (int64_t g = last; g < groups; g += tiles_per_site)
            good = good && largest(v.lane + v.offset[g], v.offset[g + 1] - v.offset[g]) < tiles.used(last);
    if (!good) return "a support entry is out of range";
    // So no group has an entry twice, or more entries than neurons times steps.
    int64_t allowed = 0;
    for (int64_t g = 1; g < groups; ++g) {
        const int64_t first = v.offset[g];
        if (first > v.offset[g - 1] && first < entries) allowed += !follows(v, first - 1);
    }
    if (out_of_order(v, entries) != allowed) return "a group's entries must be in the order of their steps, then of their lanes";
    return {};
}

}  // namespace

SupportView support_from(const SupportArrays& arrays, int64_t sites, int64_t channels, int64_t steps) {
    neurons_from(sites, channels);
    const Tiles tiles{channels};
    const int64_t groups = elements({sites, tiles.number()}), entries = entries_of(arrays);
    const auto* place = input<uint8_t>(std::get<1>(arrays), "place", 2 * entries);
    const SupportView view{input<int64_t>(std::get<0>(arrays), "offset", groups + 1), place, place + entries};
    if (view.offset[0] != 0 || view.offset[groups] != entries) fail("offset must begin at 0 and end at the number of entries");
    const std::string wrong = run(wrong_with, view, tiles, groups, entries, steps);
    if (!wrong.empty()) fail(wrong);
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

py::array scratch_array(int64_t size) {
    checked("size", size, 0, kMostElements);
    return adopt(Buffer<float>(size), {size});
}

py::object to_python(Support&& s) {
    if (s.offset.data() == nullptr) return py::none();
    const int64_t entries = s.entries;
    return py::make_tuple(adopt(std::move(s.offset), {s.groups + 1}), adopt(std::move(s.slope), {entries}),
                          adopt(std::move(s.place), {2, entries}));
}

py::object to_python(EarliestSupport&& s) {
    const int64_t entries = s.entries;
    return py::make_tuple(adopt(std::move(s.offset), {s.groups + 1}), adopt(std::move(s.place), {2, entries}),
                          adopt(std::move(s.source), {entries}));
}

}  // namespace firstspike::bindings
