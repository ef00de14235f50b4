#include "scratch.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

namespace firstspike {

namespace {
constexpr std::align_val_t kAlign{64};
}

#if defined(__SANITIZE_ADDRESS__)  // every block is fresh and of its exact size, so that a step behind it is seen

void* take_block(size_t& bytes) {
    void* block = nullptr;  // not `new`, which ends a sanitised process where memory does not suffice
    if (posix_memalign(&block, static_cast<size_t>(kAlign), bytes) != 0 || block == nullptr) throw std::bad_alloc();
    return block;
}
void give_block(void* block, size_t) { std::free(block); }

#else

namespace {

constexpr size_t kSmallest = 4096;
constexpr size_t kKept = size_t{512} << 20;  // bytes kept at most

// Blocks by size class: four classes to a power of two, so that at most a fifth of a block lies idle.
class Store {
 public:
    void lock() { guard_.lock(); }
    void unlock() { guard_.unlock(); }

    void* take(size_t& bytes) {
        const size_t index = size_class(bytes);
        {
            const std::lock_guard<std::mutex> lock(guard_);
            if (index < free_.size() && !free_[index].empty()) {
                void* block = free_[index].back();
                free_[index].pop_back();
                kept_ -= bytes;
                return block;
            }
        }
        return ::operator new(bytes, kAlign);
    }

    void give(void* block, size_t bytes) {
        {
            const std::lock_guard<std::mutex> lock(guard_);
            if (kept_ + bytes <= kKept) {
                const size_t index = size_class(bytes);
                if (index >= free_.size()) free_.resize(index + 1);
                free_[index].push_back(block);
                kept_ += bytes;
                return;
            }
        }
        ::operator delete(block, kAlign);
    }

 private:
    // The class of a size, which is rounded up to the class's.
    static size_t size_class(size_t& bytes) {
        size_t index = 0, size = kSmallest;
        for (;; size *= 2)
            for (size_t quarter = 4; quarter < 8; ++quarter, ++index)
                if (bytes <= size / 4 * quarter) {
                    bytes = size / 4 * quarter;
                    return index;
                }
    }

    std::mutex guard_;
    std::vector<std::vector<void*>> free_;
    size_t kept_ = 0;
};

// Never destroyed: arrays that Python holds may outlive every other static object.
Store& store() {
    static Store* const instance = [] {
        static Store* const fresh = new Store;
#if defined(__unix__) || defined(__APPLE__)
        // A process that forks while another thread is in the store: the child's copy must not stay locked.
        pthread_atfork([] { fresh->lock(); }, [] { fresh->unlock(); }, [] { fresh->unlock(); });
#endif
        return fresh;
    }();
    return *instance;
}

}  // namespace

void* take_block(size_t& bytes) { return store().take(bytes); }
void give_block(void* block, size_t bytes) { store().give(block, bytes); }

#endif

}  // namespace firstspike
