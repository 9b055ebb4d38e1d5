// For tests that measure memory: under a sanitizer the heap is the sanitizer's, which keeps what is freed.
#ifndef SKIFF_BASE_HEAP_TESTING_H_
#define SKIFF_BASE_HEAP_TESTING_H_

namespace skiff {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kForeignHeap = true;
#else
inline constexpr bool kForeignHeap = false;
#endif
#else
inline constexpr bool kForeignHeap = false;
#endif

}  // namespace skiff

#endif  // SKIFF_BASE_HEAP_TESTING_H_
