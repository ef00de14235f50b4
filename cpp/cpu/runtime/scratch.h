// Scratch memory: aligned, uninitialised, grown on demand.
//
// Training asks for the same sizes step after step. Blocks that are given back are kept for the next step, up to a limit: fresh
// pages from the system cost more than the kernels that fill them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

namespace firstspike {

constexpr int64_t kMostBytes = int64_t{1} << 60;  // more than any computer has, and far from overflow

// A block of at least `bytes` bytes on a cache line; `bytes` becomes its real size. Thread-safe.
void* take_block(size_t& bytes);
void give_block(void* block, size_t bytes);

// An array of plain values that starts on a cache line.
template <class T>
class Buffer {
 public:
    Buffer() = default;
    explicit Buffer(int64_t size) { reserve(size); }
    Buffer(Buffer&& other) noexcept : data_(std::move(other.data_)), capacity_(std::exchange(other.capacity_, 0)) {}
    Buffer& operator=(Buffer&& other) noexcept {
        data_ = std::move(other.data_);
        capacity_ = std::exchange(other.capacity_, 0);
        return *this;
    }

    T* data() { return data_.get(); }
    const T* data() const { return data_.get(); }
    T& operator[](int64_t i) { return data_.get()[i]; }
    const T& operator[](int64_t i) const { return data_.get()[i]; }
    int64_t capacity() const { return capacity_; }

    // Makes room for `size` values; what was there is lost where there was less.
    void reserve(int64_t size) {
        if (size <= capacity_) return;
        if (size > kMostBytes / static_cast<int64_t>(sizeof(T))) throw std::bad_alloc();
        size_t bytes = static_cast<size_t>(size) * sizeof(T);
        std::unique_ptr<T[], Free> fresh(static_cast<T*>(take_block(bytes)), Free{bytes});
        data_ = std::move(fresh);
        capacity_ = static_cast<int64_t>(bytes / sizeof(T));
    }

 private:
    struct Free {
        size_t bytes = 0;
        void operator()(T* p) const { give_block(p, bytes); }
    };
    std::unique_ptr<T[], Free> data_;
    int64_t capacity_ = 0;
};

}  // namespace firstspike
