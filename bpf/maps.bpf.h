/* The maps of the service data path. User space finds them by these names, pinned. */
#ifndef SKIFF_BPF_MAPS_BPF_H_
#define SKIFF_BPF_MAPS_BPF_H_

#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "layout.h"

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SKIFF_MAX_FRONTENDS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct skiff_frontend_key);
  __type(value, struct skiff_frontend);
} frontends SEC(".maps");

struct slot_chunk {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, SKIFF_CHUNK_SIZE);
  __uint(key_size, sizeof(__u32));
  __uint(value_size, sizeof(struct skiff_slot));
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, SKIFF_MAX_SLOT_CHUNKS);
  __type(key, __u32);
  __array(values, struct slot_chunk);
} slots SEC(".maps");

struct backend_chunk {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, SKIFF_CHUNK_SIZE);
  __uint(key_size, sizeof(__u32));
  __uint(value_size, sizeof(struct skiff_backend));
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, SKIFF_MAX_BACKEND_CHUNKS);
  __type(key, __u32);
  __array(values, struct backend_chunk);
} backends SEC(".maps");

struct count_chunk {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, SKIFF_CHUNK_SIZE);
  __uint(key_size, sizeof(__u32));
  __uint(value_size, sizeof(struct skiff_service_counts));
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, SKIFF_MAX_COUNT_CHUNKS);
  __type(key, __u32);
  __array(values, struct count_chunk);
} service_counts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, SKIFF_MAX_AFFINITY);
  __type(key, struct skiff_affinity_key);
  __type(value, struct skiff_affinity);
} affinity SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, SKIFF_MAX_SOURCE_RANGES);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct skiff_source_range);
  __type(value, __u32);
} source_ranges SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct skiff_settings);
} settings SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, SKIFF_COUNTERS);
  __type(key, __u32);
  __type(value, __u64);
} counters SEC(".maps");

/* Per-socket state lives with the socket: the kernel frees it when the socket closes. */
struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct skiff_peer);
} tcp_peers SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct skiff_peer);
} udp_peers SEC(".maps");

struct udp_flow {
  struct skiff_peer peer; /* frontend_port 0: free */
};

struct udp_flows {
  struct bpf_spin_lock lock; /* threads may share a socket */
  __u32 clock;               /* of the last use; a flow's own is in peer.reserved */
  struct udp_flow flow[SKIFF_UDP_FLOWS];
};

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct udp_flows);
} udp_flows SEC(".maps");

/* A function of its own in the kernel too: for code whose variables would not fit into one program's stack. */
#define SUBPROGRAM static __attribute__((noinline, unused))
/* The same, verified once and by itself instead of at each call. Its pointers may be null, as far as the verifier
 * knows. */
#define GLOBAL __attribute__((noinline))

static __always_inline void count(__u32 which) {
  __u64* value = bpf_map_lookup_elem(&counters, &which);
  if (value) (*value)++;
}

static __always_inline struct skiff_slot* slot_at(__u32 index) {
  __u32 chunk = index >> SKIFF_CHUNK_BITS, at = index & (SKIFF_CHUNK_SIZE - 1);
  void* inner = bpf_map_lookup_elem(&slots, &chunk);
  return inner ? bpf_map_lookup_elem(inner, &at) : 0;
}

static __always_inline struct skiff_backend* backend_at(__u32 id) {
  __u32 chunk = id >> SKIFF_CHUNK_BITS, at = id & (SKIFF_CHUNK_SIZE - 1);
  void* inner = bpf_map_lookup_elem(&backends, &chunk);
  return inner ? bpf_map_lookup_elem(inner, &at) : 0;
}

static __always_inline void count_service(__u32 service, bool refused) {
  __u32 chunk = service >> SKIFF_CHUNK_BITS, at = service & (SKIFF_CHUNK_SIZE - 1);
  void* inner = bpf_map_lookup_elem(&service_counts, &chunk);
  struct skiff_service_counts* c = inner ? bpf_map_lookup_elem(inner, &at) : 0;
  if (c) __sync_fetch_and_add(refused ? &c->refused : &c->connections, 1);
}

static __always_inline bool same_address(const struct skiff_address* a, const struct skiff_address* b) {
  return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] && a->word[3] == b->word[3];
}

#endif
