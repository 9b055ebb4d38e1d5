/* Services at the socket: connect(2) and sendmsg(2) to a service's address go to an endpoint's address instead, so that
 * established traffic has nothing to translate. recvmsg(2) and getpeername(2) show the service's address again.
 *
 * One kernel detail per hook is worth knowing:
 * - connect6 and getpeername6 of an IPv4-mapped destination get ::ffff:a.b.c.d; sendmsg of one runs the sendmsg4
 *   program on an AF_INET6 socket, its answer the recvmsg6 one. Hence the one 16-byte form of addresses.
 * - sendmsg programs do not run for send(2) on connected UDP sockets: these stay with the endpoint of their connect,
 *   and user space re-points them when it goes away (udp_sockets.bpf.c).
 * - the return value of connect and sendmsg programs decides (0: refuse, with the errno of bpf_set_retval); recvmsg
 *   and getpeername programs must return 1. */
#define SKIFF_NO_KERNEL_TYPES
#include "service.bpf.h"

#define MAPPED_PREFIX 0xffff0000u /* ::ffff:0:0/96's third word in network order on a little-endian machine */
#ifndef __BYTE_ORDER__
#error "byte order unknown"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#undef MAPPED_PREFIX
#define MAPPED_PREFIX 0x0000ffffu
#endif

enum verdict { REFUSE = 0, ALLOW = 1 };

static __always_inline void address4(struct skiff_address* out, __u32 ip) {
  out->word[0] = 0;
  out->word[1] = 0;
  out->word[2] = MAPPED_PREFIX;
  out->word[3] = ip;
}

static __always_inline void address6(struct skiff_address* out, const struct bpf_sock_addr* ctx) {
  out->word[0] = ctx->user_ip6[0];
  out->word[1] = ctx->user_ip6[1];
  out->word[2] = ctx->user_ip6[2];
  out->word[3] = ctx->user_ip6[3];
}

static __always_inline bool is_mapped(const struct skiff_address* a) {
  return !a->word[0] && !a->word[1] && a->word[2] == MAPPED_PREFIX;
}

static __always_inline void set4(struct bpf_sock_addr* ctx, const struct skiff_address* a, __u16 port) {
  ctx->user_ip4 = a->word[3];
  ctx->user_port = port;
}

static __always_inline void set6(struct bpf_sock_addr* ctx, const struct skiff_address* a, __u16 port) {
  ctx->user_ip6[0] = a->word[0];
  ctx->user_ip6[1] = a->word[1];
  ctx->user_ip6[2] = a->word[2];
  ctx->user_ip6[3] = a->word[3];
  ctx->user_port = port;
}

static __always_inline bool in_host_netns(struct bpf_sock_addr* ctx) {
  __u32 zero = 0;
  struct skiff_settings* s = bpf_map_lookup_elem(&settings, &zero);
  return s && s->host_netns_cookie == bpf_get_netns_cookie(ctx);
}

/* The frontend of a destination: a service's own address and port, a NodePort, or, with SKIFF_FRONTEND_REFUSE, an
 * unused port of a service's address. Null: not ours. */
static __always_inline struct skiff_frontend* find(struct bpf_sock_addr* ctx, struct skiff_frontend_key* key) {
  struct skiff_frontend* f = bpf_map_lookup_elem(&frontends, key);
  if (f) return f;
  struct skiff_frontend_key other = {.address = key->address};
  struct skiff_frontend* address = bpf_map_lookup_elem(&frontends, &other);
  if (!address) return 0;
  if (!(address->flags & SKIFF_FRONTEND_NODE_ADDRESS)) return address;
  if ((address->flags & SKIFF_FRONTEND_HOST_ONLY) && !in_host_netns(ctx)) return 0;
  other.scope = is_mapped(&key->address) ? SKIFF_SCOPE_NODE_PORT4 : SKIFF_SCOPE_NODE_PORT6;
  other.address = (struct skiff_address){};
  other.port = key->port;
  other.protocol = key->protocol;
  return bpf_map_lookup_elem(&frontends, &other);
}

static __always_inline enum verdict refuse(__u32 why) {
  count(why);
  bpf_set_retval(-ECONNREFUSED);
  return REFUSE;
}

static __always_inline __u8 inside_state(const struct skiff_frontend* f) {
  return f->flags & SKIFF_FRONTEND_INSIDE_LOCAL ? SKIFF_BACKEND_LOCAL : SKIFF_BACKEND_CLUSTER;
}

/* By policy there is no endpoint. A packet that nobody answers is what upstream makes of this, and only packets can be
 * dropped: left as it is, the connection is for the programs at the devices. A UDP socket of the node would stay so
 * when an endpoint comes, as its packets pass no device of a pod: it gets an error, as it does from upstream. */
static __always_inline bool is_for_packets_to_drop(struct bpf_sock_addr* ctx, const struct skiff_frontend* f) {
  if (!(f->flags & SKIFF_FRONTEND_INSIDE_DROP)) return false;
  __u32 zero = 0;
  struct skiff_settings* s = bpf_map_lookup_elem(&settings, &zero);
  if (!s || !(s->flags & SKIFF_SETTING_PACKETS)) return false;
  if (s->host_netns_cookie != bpf_get_netns_cookie(ctx)) return true;
  return ctx->protocol == IPPROTO_TCP && s->service_cidrs;
}

enum outcome { PICKED, NOT_OURS, REFUSED };

static __always_inline enum outcome pick(struct bpf_sock_addr* ctx, struct skiff_frontend_key* key,
                                         struct skiff_frontend* f, struct choice* out) {
  if (f->flags & SKIFF_FRONTEND_REFUSE) {
    refuse(SKIFF_COUNT_UNUSED_PORT);
    return REFUSED;
  }
  struct skiff_affinity_key client = {};
  if (f->affinity_seconds) {
    /* At connect time a socket mostly has no source address yet. A pod is a network namespace, so its cookie stands
     * for the client's address. */
    __u64 cookie = bpf_get_netns_cookie(ctx);
    client.service = f->service;
    client.kind = 1;
    client.client[0] = (__u32)cookie;
    client.client[1] = (__u32)(cookie >> 32);
    if (pick_affine(f, &client, inside_state(f), out)) return PICKED;
  }
  for (int i = 0; i < PICK_TRIES; i++) {
    if (!f->inside.count) {
      if (is_for_packets_to_drop(ctx, f)) return NOT_OURS;
      count_service(f->service, true);
      refuse(SKIFF_COUNT_NO_ENDPOINT);
      return REFUSED;
    }
    if (pick_slot(f, &f->inside, bpf_get_prandom_u32(), inside_state(f), out)) {
      if (f->affinity_seconds) {
        struct skiff_affinity a = {.used = bpf_ktime_get_ns(), .backend = out->backend};
        bpf_map_update_elem(&affinity, &client, &a, BPF_ANY);
      }
      return PICKED;
    }
    count(SKIFF_COUNT_RETRY);
    f = find(ctx, key);
    if (!f) return NOT_OURS;
  }
  refuse(SKIFF_COUNT_GAVE_UP);
  return REFUSED;
}

static __always_inline void remember(struct skiff_peer* peer, const struct skiff_frontend_key* key,
                                     const struct choice* c) {
  peer->frontend_address = key->address;
  peer->frontend_port = key->port;
  peer->backend_address = c->address;
  peer->backend_port = c->port;
  peer->backend = c->backend;
  peer->service = c->service;
}

/* A load balancer's address that only some may use: the source of the node's own processes is known, or as good as;
 * a pod's is not before its packet is sent, and is checked there. */
static __always_inline bool may_use(struct bpf_sock_addr* ctx, const struct skiff_frontend* f, bool v6) {
  if (!(f->flags & SKIFF_FRONTEND_PASS)) return true;
  if (!(f->flags & SKIFF_FRONTEND_RANGES)) return false;
  __u32 zero = 0;
  struct skiff_settings* s = bpf_map_lookup_elem(&settings, &zero);
  if (!s || s->host_netns_cookie != bpf_get_netns_cookie(ctx)) return false;
  struct skiff_address source = v6 ? s->node_v6 : s->node_v4;
  if (!v6 && ctx->sk && ctx->sk->src_ip4) address4(&source, ctx->sk->src_ip4);
  return in_source_ranges(f->service, &source);
}

/* The chosen endpoint is left in `c` where the answer is ALLOW and c->port is not 0. */
static __always_inline enum verdict on_connect(struct bpf_sock_addr* ctx, struct skiff_frontend_key* key,
                                               struct choice* c) {
  bool udp = ctx->protocol == IPPROTO_UDP;
  if (!udp && ctx->protocol != IPPROTO_TCP) return ALLOW;
  key->port = ctx->user_port;
  key->protocol = ctx->protocol;
  struct skiff_frontend* f = find(ctx, key);
  if (!f || !may_use(ctx, f, !is_mapped(&key->address))) {
    /* A UDP socket may connect again, elsewhere. */
    if (udp && ctx->sk) bpf_sk_storage_delete(&udp_peers, ctx->sk);
    return ALLOW;
  }
  switch (pick(ctx, key, f, c)) {
    case REFUSED: return REFUSE;
    case NOT_OURS:
      if (udp && ctx->sk) bpf_sk_storage_delete(&udp_peers, ctx->sk);
      return ALLOW;
    default: break;
  }
  count(SKIFF_COUNT_CONNECT);
  count_service(c->service, false);
  struct skiff_peer* peer = 0;
  if (ctx->sk) {
    if (udp) {
      peer = bpf_sk_storage_get(&udp_peers, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    } else {
      peer = bpf_sk_storage_get(&tcp_peers, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    }
  }
  /* Out of memory: the connection works, only getpeername shows the endpoint. */
  if (peer) remember(peer, key, c);
  return ALLOW;
}

/* Unconnected datagrams of one socket to one service keep their endpoint for as long as it serves. */
static __always_inline enum verdict on_sendmsg(struct bpf_sock_addr* ctx, struct skiff_frontend_key* key,
                                               struct choice* c) {
  if (ctx->protocol != IPPROTO_UDP) return ALLOW;
  key->port = ctx->user_port;
  key->protocol = IPPROTO_UDP;
  struct skiff_frontend* f = find(ctx, key);
  if (!f || !may_use(ctx, f, !is_mapped(&key->address))) return ALLOW;
  struct udp_flows* flows = ctx->sk ? bpf_sk_storage_get(&udp_flows, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE) : 0;
  struct skiff_peer had = {};
  if (flows) {
    bpf_spin_lock(&flows->lock);
    __u32 now = ++flows->clock;
#pragma unroll
    for (int i = 0; i < SKIFF_UDP_FLOWS; i++) {
      struct skiff_peer* p = &flows->flow[i].peer;
      if (p->frontend_port == key->port && same_address(&p->frontend_address, &key->address)) {
        p->reserved = now;
        had = *p;
        break;
      }
    }
    bpf_spin_unlock(&flows->lock);
  }
  if (had.frontend_port) {
    struct skiff_backend* b = backend_at(had.backend);
    if (!(f->flags & SKIFF_FRONTEND_REFUSE) &&
        backend_is(b, f->service, &had.backend_address, had.backend_port, SKIFF_BACKEND_SERVING)) {
      c->address = had.backend_address;
      c->port = had.backend_port;
      return ALLOW;
    }
    count(SKIFF_COUNT_REBIND);
  }
  switch (pick(ctx, key, f, c)) {
    case REFUSED: return REFUSE;
    case NOT_OURS: return ALLOW;
    default: break;
  }
  count(SKIFF_COUNT_CONNECT);
  count_service(c->service, false);
  if (!flows) return ALLOW; /* out of memory: the datagram goes, its answer shows the endpoint */
  bool evicted = false;
  bpf_spin_lock(&flows->lock);
  __u32 now = ++flows->clock, at = 0, oldest = 0;
  bool placed = false;
#pragma unroll
  for (int i = 0; i < SKIFF_UDP_FLOWS; i++) {
    struct skiff_peer* p = &flows->flow[i].peer;
    if (placed) continue;
    if (p->frontend_port == key->port && same_address(&p->frontend_address, &key->address)) {
      at = i;
      placed = true;
      oldest = ~0u;
    } else {
      __u32 age = p->frontend_port ? now - p->reserved : ~0u;
      if (age > oldest) {
        oldest = age;
        at = i;
      }
    }
  }
  at &= SKIFF_UDP_FLOWS - 1;
  struct skiff_peer* p = &flows->flow[at].peer;
  evicted = !placed && p->frontend_port;
  p->frontend_address = key->address;
  p->frontend_port = key->port;
  p->backend_address = c->address;
  p->backend_port = c->port;
  p->backend = c->backend;
  p->service = c->service;
  p->reserved = now;
  bpf_spin_unlock(&flows->lock);
  if (evicted) count(SKIFF_COUNT_FLOW_EVICTED);
  return ALLOW;
}

/* The service that stands for this source address on this socket; frontend_port 0: none. */
static __always_inline void reverse(struct bpf_sock_addr* ctx, const struct skiff_address* source, __u16 port,
                                    struct skiff_peer* out) {
  if (!ctx->sk) return;
  struct skiff_peer* peer;
  if (ctx->protocol == IPPROTO_TCP) {
    peer = bpf_sk_storage_get(&tcp_peers, ctx->sk, 0, 0);
  } else {
    peer = bpf_sk_storage_get(&udp_peers, ctx->sk, 0, 0);
  }
  if (peer && peer->backend_port == port && same_address(&peer->backend_address, source)) {
    *out = *peer;
    return;
  }
}

static __always_inline void reverse_flow(struct bpf_sock_addr* ctx, const struct skiff_address* source, __u16 port,
                                         struct skiff_peer* out) {
  if (!ctx->sk) return;
  struct udp_flows* flows = bpf_sk_storage_get(&udp_flows, ctx->sk, 0, 0);
  if (!flows) return;
  __u32 best = ~0u;
  bpf_spin_lock(&flows->lock);
  __u32 now = flows->clock;
#pragma unroll
  for (int i = 0; i < SKIFF_UDP_FLOWS; i++) {
    struct skiff_peer* p = &flows->flow[i].peer;
    /* Two services may share an endpoint: the one used last is the one that is being answered. */
    if (p->frontend_port && p->backend_port == port && same_address(&p->backend_address, source) &&
        now - p->reserved < best) {
      best = now - p->reserved;
      out->frontend_address = p->frontend_address;
      out->frontend_port = p->frontend_port;
    }
  }
  bpf_spin_unlock(&flows->lock);
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr* ctx) {
  struct skiff_frontend_key key = {};
  struct choice c = {};
  address4(&key.address, ctx->user_ip4);
  enum verdict v = on_connect(ctx, &key, &c);
  if (v == ALLOW && c.port) set4(ctx, &c.address, c.port);
  return v;
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr* ctx) {
  struct skiff_frontend_key key = {};
  struct choice c = {};
  address6(&key.address, ctx);
  enum verdict v = on_connect(ctx, &key, &c);
  if (v == ALLOW && c.port) set6(ctx, &c.address, c.port);
  return v;
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr* ctx) {
  struct skiff_frontend_key key = {};
  struct choice c = {};
  address4(&key.address, ctx->user_ip4);
  enum verdict v = on_sendmsg(ctx, &key, &c);
  if (v == ALLOW && c.port) set4(ctx, &c.address, c.port);
  return v;
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr* ctx) {
  struct skiff_frontend_key key = {};
  struct choice c = {};
  address6(&key.address, ctx);
  enum verdict v = on_sendmsg(ctx, &key, &c);
  if (v == ALLOW && c.port) set6(ctx, &c.address, c.port);
  return v;
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr* ctx) {
  struct skiff_address source;
  struct skiff_peer p = {};
  __u16 port = ctx->user_port;
  address4(&source, ctx->user_ip4);
  reverse(ctx, &source, port, &p);
  if (!p.frontend_port) reverse_flow(ctx, &source, port, &p);
  if (p.frontend_port) set4(ctx, &p.frontend_address, p.frontend_port);
  return 1;
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr* ctx) {
  struct skiff_address source;
  struct skiff_peer p = {};
  __u16 port = ctx->user_port;
  address6(&source, ctx);
  reverse(ctx, &source, port, &p);
  if (!p.frontend_port) reverse_flow(ctx, &source, port, &p);
  if (p.frontend_port) set6(ctx, &p.frontend_address, p.frontend_port);
  return 1;
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr* ctx) {
  struct skiff_address source;
  struct skiff_peer p = {};
  address4(&source, ctx->user_ip4);
  reverse(ctx, &source, ctx->user_port, &p);
  if (p.frontend_port) set4(ctx, &p.frontend_address, p.frontend_port);
  return 1;
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr* ctx) {
  struct skiff_address source;
  struct skiff_peer p = {};
  address6(&source, ctx);
  reverse(ctx, &source, ctx->user_port, &p);
  if (p.frontend_port) set6(ctx, &p.frontend_address, p.frontend_port);
  return 1;
}

char _license[] SEC("license") = "Dual BSD/GPL";
