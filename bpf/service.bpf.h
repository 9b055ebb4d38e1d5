/* From a destination to an endpoint: the part of the data path that sockets and packets share. */
#ifndef SKIFF_BPF_SERVICE_BPF_H_
#define SKIFF_BPF_SERVICE_BPF_H_

#include "maps.bpf.h"

#define PICK_TRIES 4

/* Whether `used` was more than `limit` before `now`, of which another processor may have been later. */
static __always_inline bool older(__u64 now, __u64 used, __u64 limit) { return (__s64)(now - used) > (__s64)limit; }

/* What was chosen: copied out of the map, so that a later change of the map does not tear it. */
struct choice {
  struct skiff_address address;
  __u32 backend;
  __u32 service;
  __u16 port;
  __u16 reserved;
};

/* The ids of backends are reused, late; state, service and address together tell whether one still is what it was. */
static __always_inline bool backend_is(const struct skiff_backend* b, __u32 service,
                                       const struct skiff_address* address, __u16 port, __u8 state) {
  return b && (b->state & state) && b->service == service && b->port == port && same_address(&b->address, address);
}

static __always_inline void choose(struct choice* out, const struct skiff_backend* b, __u32 id) {
  out->address = b->address;
  out->port = b->port;
  out->backend = id;
  out->service = b->service;
}

/* The endpoint that this client had, if it still takes new connections. */
static __always_inline bool pick_affine(const struct skiff_frontend* f, const struct skiff_affinity_key* client,
                                        __u8 state, struct choice* out) {
  struct skiff_affinity* a = bpf_map_lookup_elem(&affinity, client);
  if (!a) return false;
  __u64 now = bpf_ktime_get_ns();
  if (older(now, a->used, (__u64)f->affinity_seconds * 1000000000ull)) return false;
  __u32 id = a->backend;
  struct skiff_backend* b = backend_at(id);
  if (!b || b->service != f->service || !(b->state & state)) return false;
  choose(out, b, id);
  a->used = now;
  return true;
}

/* The endpoint in slot `number` of the set, which wraps around. False where the set moved meanwhile: look the frontend
 * up again. */
static __always_inline bool pick_slot(const struct skiff_frontend* f, const struct skiff_range* set, __u32 number,
                                      __u8 state, struct choice* out) {
  __u32 count = set->count, first = set->first;
  if (!count) return false;
  struct skiff_slot* slot = slot_at(first + number % count);
  if (!slot || slot->service != f->service) return false;
  __u32 id = slot->backend;
  struct skiff_backend* b = backend_at(id);
  if (!b || b->service != f->service || !(b->state & state)) return false;
  choose(out, b, id);
  return true;
}

static __always_inline bool in_source_ranges(__u32 service, const struct skiff_address* source) {
  struct skiff_source_range range = {.prefix = 160, .service = service, .source = *source};
  return bpf_map_lookup_elem(&source_ranges, &range) != 0;
}

/* The step of a loop. Linux 6.1 refuses a loop whose end falls through to its head (clang lays out some so); it may
 * jump there, if only to the next instruction. */
static __always_inline int next_try(int i) {
  i++;
  asm volatile("goto +0" : "+r"(i));
  return i;
}

#endif
