#include "base/memory.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace skiff {

namespace {

int Release(dl_phdr_info* info, size_t, void*) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const auto& segment = info->dlpi_phdr[i];
    // Writable segments hold relocated data, which no file can give back.
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    uintptr_t begin = info->dlpi_addr + segment.p_vaddr, end = begin + segment.p_filesz;
    begin = (begin + page - 1) & ~(page - 1);
    end &= ~(page - 1);
    if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
  return 0;
}

}  // namespace

void ReleaseStartupMemory() {
  malloc_trim(0);
  dl_iterate_phdr(Release, nullptr);
}

Task<void> StaySmall() {
  for (std::chrono::nanoseconds wait = std::chrono::seconds(30); (co_await SleepFor(wait)).ok();
       wait = std::chrono::minutes(10)) {
    ReleaseStartupMemory();
  }
}

}  // namespace skiff
