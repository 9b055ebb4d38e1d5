// Whether two answers to a list call say the same, told without decoding them. A runtime written in Go puts its items,
// and the entries of their maps, in another order each time: the order of items and of an item's fields does not count.
// Thread-safe.
#ifndef SKIFF_CRI_LIST_DIGEST_H_
#define SKIFF_CRI_LIST_DIGEST_H_

#include <cstdint>
#include <string_view>

namespace skiff::cri {

// Of an encoded message of repeated items. Equal for answers that say the same; different, but for one in 2^64, for
// others. Of this process only. Bytes that are no message have a digest too.
uint64_t ListDigest(std::string_view encoded);

}  // namespace skiff::cri

#endif  // SKIFF_CRI_LIST_DIGEST_H_
