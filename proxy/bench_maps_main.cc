// For measurements: when a service's new endpoint is in the maps. For a service of one IPv4 endpoint and one TCP port;
// each time this endpoint is replaced, prints two times of CLOCK_MONOTONIC in nanoseconds: when the frontend was
// switched to the new one, and when the old one's entry was cleared, which is the pass's last write. Prints "ready"
// when it looks. It looks without a pause.
//
//   kube-proxy-bench-maps MAPS_DIR IP PORT
#include <bpf/bpf.h>
#include <netinet/in.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/files.h"
#include "bpf/objects.h"
#include "proxy/address.h"

namespace skiff::proxy {
namespace {

long long Now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// An element of a map in chunks.
template <typename T>
bool Lookup(int outer, uint32_t index, T* out) {
  uint32_t chunk = index >> SKIFF_CHUNK_BITS, at = index & (SKIFF_CHUNK_SIZE - 1), id = 0;
  if (bpf_map_lookup_elem(outer, &chunk, &id) != 0) return false;
  Fd fd(bpf_map_get_fd_by_id(id));
  return fd.valid() && bpf_map_lookup_elem(fd.get(), &at, out) == 0;
}

int Watch(const std::string& dir, const FrontendKey& key) {
  auto frontends = bpf::OpenPinned(JoinPath(dir, "frontends")), slots = bpf::OpenPinned(JoinPath(dir, "slots")),
       backends = bpf::OpenPinned(JoinPath(dir, "backends"));
  if (!frontends.ok() || !slots.ok() || !backends.ok()) return 1;
  for (;;) {
    skiff_frontend before = {}, now = {};
    skiff_slot slot = {};
    if (bpf_map_lookup_elem(frontends->get(), &key, &before) != 0) return 1;
    if (!Lookup(slots->get(), before.inside.first, &slot)) return 1;
    uint32_t chunk = slot.backend >> SKIFF_CHUNK_BITS, at = slot.backend & (SKIFF_CHUNK_SIZE - 1), id = 0;
    if (bpf_map_lookup_elem(backends->get(), &chunk, &id) != 0) return 1;
    Fd old(bpf_map_get_fd_by_id(id));
    printf("ready\n");
    fflush(stdout);
    do {
      if (bpf_map_lookup_elem(frontends->get(), &key, &now) != 0) return 1;
    } while (std::memcmp(&before, &now, sizeof(now)) == 0);
    long long switched = Now();
    skiff_backend backend = {};
    do {
      if (bpf_map_lookup_elem(old.get(), &at, &backend) != 0) return 1;
    } while (backend.state != 0);
    printf("%lld %lld\n", switched, Now());
  }
}

}  // namespace
}  // namespace skiff::proxy

int main(int argc, char** argv) {
  using namespace skiff::proxy;
  auto address = argc == 4 ? ParseAddress(argv[2]) : std::nullopt;
  if (!address) {
    fprintf(stderr, "usage: %s MAPS_DIR IP PORT\n", argv[0]);
    return 2;
  }
  return Watch(argv[1], MakeKey(*address, static_cast<uint16_t>(atoi(argv[3])), IPPROTO_TCP));
}
