// Scratch memory: aligned, uninitialised, grown on demand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

namespace firstspike {

// An array of plain values that starts on a cache line. Growing keeps what was there.
template <class T>
class Buffer {
   public:
    Buffer() = default;
    explicit Buffer(int64_t size) { reserve(size); }

    T* data() { return data_.get(); }
    const T* data() const { return data_.get(); }
    T& operator[](int64_t i) { return data_.get()[i]; }
    const T& operator[](int64_t i) const { return data_.get()[i]; }
    int64_t capacity() const { return capacity_; }

    // Makes room for `size` values; keeps the first `used`.
    void reserve(int64_t size, int64_t used = 0) {
        if (size <= capacity_) return;
        int64_t grown = capacity_ * 2 > size ? capacity_ * 2 : size;
        std::unique_ptr<T[], Free> fresh(static_cast<T*>(::operator new(static_cast<size_t>(grown) * sizeof(T), kAlign)));
        if (used > 0) std::memcpy(fresh.get(), data_.get(), static_cast<size_t>(used) * sizeof(T));
        data_ = std::move(fresh);
        capacity_ = grown;
    }

   private:
    static constexpr std::align_val_t kAlign{64};
    struct Free {
        void operator()(T* p) const { ::operator delete(p, kAlign); }
    };
    std::unique_ptr<T[], Free> data_;
    int64_t capacity_ = 0;
};

}  // namespace firstspike
