/* The connection table of the packet path, as layout.h describes it, and ICMP errors, which are translated like the
 * packets that they quote. */
#ifndef SKIFF_BPF_FLOWS_BPF_H_
#define SKIFF_BPF_FLOWS_BPF_H_

#include "packet.bpf.h"

#define UDP_IDLE_NS (120ull * 1000000000ull) /* as conntrack's stream time-out: then the endpoint is chosen anew */
#define SYN_AGAIN_NS (10ull * 1000000000ull) /* a SYN that comes later opens another connection */
#define USED_STEP_NS 1000000000ull
#define POD_FLOWS_IDLE_NS (86400ull * 1000000000ull)
#define PORT_TRIES 16
/* Below the NodePorts (30000..) and the kernel's ephemeral ports (32768..): nothing else picks from here. */
#define MASQUERADE_FIRST 1024
#define MASQUERADE_COUNT 28976

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, SKIFF_MAX_FLOWS);
  __type(key, struct skiff_flow_key);
  __type(value, struct skiff_flow);
} flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SKIFF_MAX_DEVICES);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, __u32);
  __type(value, struct skiff_device);
} devices SEC(".maps");

/* When a connection by packets was last seen of a pod, by its address: of the one that opened it, and of an endpoint
 * that sees the node in its place. Pods share a slot only where their nodes' addresses are that far apart, and then
 * both are looked up. Where there was none for a day, packets of a pod are not looked up in the connection table:
 * sockets of pods are translated, so most never have any. The last slot is everybody's: most nodes' pods never have any
 * either. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, SKIFF_POD_SLOTS + 1);
  __type(key, __u32);
  __type(value, __u64);
} pod_addresses SEC(".maps");

static __always_inline __u64* pod_slot(__u32 slot) { return bpf_map_lookup_elem(&pod_addresses, &slot); }

/* The clock is read only where there was one at all: this is asked for each packet. */
static __always_inline bool has_flows(__be32 last_word) {
  __u64* used = pod_slot(bpf_ntohl(last_word) % SKIFF_POD_SLOTS);
  return used && *used && !older(bpf_ktime_get_ns(), *used, POD_FLOWS_IDLE_NS);
}

static __always_inline bool any_pod_had_flows(void) {
  __u64* used = pod_slot(SKIFF_POD_SLOTS);
  return used && *used;
}

static __always_inline void note_pod_flow(const struct skiff_address* pod, __u64 now) {
  __u64* used = pod_slot(bpf_ntohl(pod->word[3]) % SKIFF_POD_SLOTS);
  if (used) *used = now;
  used = pod_slot(SKIFF_POD_SLOTS);
  if (used) *used = now;
}

static __always_inline void key_of(struct skiff_flow_key* key, const struct packet* p, __u8 kind) {
  key->source = p->source;
  key->destination = p->destination;
  key->source_port = p->source_port;
  key->destination_port = p->destination_port;
  key->protocol = p->protocol;
  key->kind = kind;
  key->reserved = 0;
}

/* The entry that packets the other way would find. */
static __always_inline void reverse_key_of(struct skiff_flow_key* key, const struct packet* p, __u8 kind) {
  key->source = p->destination;
  key->destination = p->source;
  key->source_port = p->destination_port;
  key->destination_port = p->source_port;
  key->protocol = p->protocol;
  key->kind = kind;
  key->reserved = 0;
}

/* True about once a second for each entry. `pod`: the pod's address, at its device. */
static __always_inline bool touch(struct skiff_flow* flow, __u64 now, const struct skiff_address* pod) {
  if (!older(now, flow->used, USED_STEP_NS)) return false;
  flow->used = now;
  if (pod) note_pod_flow(pod, now);
  return true;
}

static __always_inline bool is_zero(const struct skiff_address* a) {
  return !(a->word[0] | a->word[1] | a->word[2] | a->word[3]);
}

/* The address and port of the packet that an ICMP error quotes, on one side, and the error's own address on the other
 * side where it is the same: the error of an endpoint becomes the service's, that of a router stays a router's. The
 * quoted packet's own L4 checksum is left as it is; nobody checks it. */
static __always_inline bool rewrite_error(struct __sk_buff* skb, const struct packet* error,
                                          const struct packet* quoted, bool quoted_source,
                                          struct skiff_address* address, __u16 port) {
  __u32 check = error->l4 + 2; /* of ICMP */
  struct skiff_address old = quoted_source ? quoted->source : quoted->destination;
  __u16 old_port = quoted_source ? quoted->source_port : quoted->destination_port;
  struct skiff_address outer = quoted_source ? error->destination : error->source;
  bool both = same_address(&outer, &old);
  if (error->v6) {
    __s64 diff = bpf_csum_diff((__be32*)&old, sizeof(old), (__be32*)address, sizeof(*address), 0);
    if (diff < 0 || bpf_l4_csum_replace(skb, check, 0, diff, 0) < 0) return false;
    if (bpf_skb_store_bytes(skb, quoted->l3 + (quoted_source ? 8 : 24), address, sizeof(*address), 0) < 0) return false;
    if (both) {
      if (bpf_l4_csum_replace(skb, check, 0, diff, BPF_F_PSEUDO_HDR) < 0) return false;
      if (bpf_skb_store_bytes(skb, error->l3 + (quoted_source ? 24 : 8), address, sizeof(*address), 0) < 0)
        return false;
    }
  } else {
    /* The quoted header's checksum changes against its address: for ICMP's checksum the two cancel out. */
    if (bpf_l3_csum_replace(skb, quoted->l3 + 10, old.word[3], address->word[3], 4) < 0) return false;
    if (bpf_skb_store_bytes(skb, quoted->l3 + (quoted_source ? 12 : 16), &address->word[3], 4, 0) < 0) return false;
    if (both) {
      if (bpf_l3_csum_replace(skb, error->l3 + 10, old.word[3], address->word[3], 4) < 0) return false;
      if (bpf_skb_store_bytes(skb, error->l3 + (quoted_source ? 16 : 12), &address->word[3], 4, 0) < 0) return false;
    }
  }
  if (old_port == port) return true;
  if (bpf_l4_csum_replace(skb, check, old_port, port, 2) < 0) return false;
  return bpf_skb_store_bytes(skb, quoted->l4 + (quoted_source ? 0 : 2), &port, 2, 0) >= 0;
}

/* An error is about a packet that went the other way, past the same device. Coming in it quotes what we sent: a
 * request that was masqueraded, or an answer in the service's name; each gets back the source that it had before. Going
 * out it quotes what we let in: a request that went to an endpoint, or an answer that found its client again; each gets
 * back the destination that its sender knows. */
GLOBAL int translate_error(struct __sk_buff* skb, const struct packet* error) {
  if (!error) return TC_ACT_UNSPEC;
  struct packet quoted;
  bool in = !error->out;
  if (!parse_ip(skb, &quoted, error->l4 + 8, false)) return TC_ACT_UNSPEC;
  if (quoted.fragment == LATER || !parse_ports(skb, &quoted)) return TC_ACT_UNSPEC;
  struct skiff_flow_key key;
  reverse_key_of(&key, &quoted, in ? SKIFF_FLOW_TO_CLIENT : SKIFF_FLOW_FROM_SERVICE);
  struct skiff_flow* flow = bpf_map_lookup_elem(&flows, &key);
  if (!flow) {
    key.kind = in ? SKIFF_FLOW_TO_BACKEND : SKIFF_FLOW_MASQUERADE;
    flow = bpf_map_lookup_elem(&flows, &key);
    if (!flow || !flow->port) return TC_ACT_UNSPEC;
  }
  struct skiff_address to = flow->address;
  return rewrite_error(skb, error, &quoted, in, &to, flow->port) ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

enum opening {
  OPEN_MASQUERADED = 1 << 0,
  OPEN_DIRECT_RETURN = 1 << 1,
  OPEN_FORCED = 1 << 2, /* even where answers can then not be told apart */
};

/* Entries for a new connection: the way there, the way back, and the wish to masquerade, which is made good on the way
 * out, when the device is known. */
GLOBAL int open_flow(const struct packet* p, const struct choice* c, __u32 how, __u64 now) {
  if (!p || !c) return false;
  struct skiff_flow_key key = {
      .source = c->address,
      .destination = p->source,
      .source_port = c->port,
      .destination_port = p->source_port,
      .protocol = p->protocol,
      .kind = SKIFF_FLOW_FROM_SERVICE,
  };
  struct skiff_flow flow = {
      .used = now,
      .address = p->destination,
      .backend = c->backend,
      .service = c->service,
      .port = p->destination_port,
  };
  struct skiff_flow* other = bpf_map_lookup_elem(&flows, &key);
  if (other && !(how & OPEN_FORCED) && (other->port != flow.port || !same_address(&other->address, &flow.address))) {
    /* The client talks from one port to two addresses of services, and both lead to this endpoint: its answers could
     * not be told apart. Another endpoint may do. */
    return false;
  }
  if (bpf_map_update_elem(&flows, &key, &flow, BPF_ANY) < 0) return false;
  if (how & OPEN_MASQUERADED) {
    key.source = p->source;
    key.destination = c->address;
    key.source_port = p->source_port;
    key.destination_port = c->port;
    key.kind = SKIFF_FLOW_MASQUERADE;
    flow.address = (struct skiff_address){};
    flow.port = 0;
    if (!bpf_map_lookup_elem(&flows, &key) && bpf_map_update_elem(&flows, &key, &flow, BPF_ANY) < 0) return false;
  }
  key_of(&key, p, SKIFF_FLOW_TO_BACKEND);
  flow.address = c->address;
  flow.port = c->port;
  flow.flags =
      (how & OPEN_DIRECT_RETURN ? SKIFF_FLOW_DIRECT_RETURN : 0) | (how & OPEN_MASQUERADED ? SKIFF_FLOW_MASQUERADED : 0);
  return bpf_map_update_elem(&flows, &key, &flow, BPF_ANY) >= 0;
}

/* This device's own address in the packet's family, for masquerading. */
static __always_inline bool own_address(struct __sk_buff* skb, bool v6, struct skiff_address* out) {
  __u32 ifindex = skb->ifindex;
  struct skiff_device* device = bpf_map_lookup_elem(&devices, &ifindex);
  if (!device) return false;
  *out = v6 ? device->v6 : device->v4;
  return !is_zero(out);
}

/* A port of the node that no other connection to this endpoint uses, or the one that it has, if the way back through it
 * still is this connection's and the address the node's. */
SUBPROGRAM int masquerade(struct __sk_buff* skb, const struct packet* p, struct skiff_flow* wish, __u64 now) {
  if (!wish) return false; /* the verifier wants to see it */
  struct skiff_address own;
  if (!own_address(skb, p->v6, &own)) return false;
  struct skiff_flow_key back = {
      .source = p->destination,
      .destination = own,
      .source_port = p->destination_port,
      .protocol = p->protocol,
      .kind = SKIFF_FLOW_TO_CLIENT,
  };
  struct skiff_flow client = {
      .used = now,
      .address = p->source,
      .backend = wish->backend,
      .service = wish->service,
      .port = p->source_port,
  };
  if (wish->port && same_address(&wish->address, &own)) {
    back.destination_port = wish->port;
    struct skiff_flow* has = bpf_map_lookup_elem(&flows, &back);
    if (has ? has->port == client.port && same_address(&has->address, &client.address)
            : bpf_map_update_elem(&flows, &back, &client, BPF_NOEXIST) == 0) {
      return true;
    }
  }
  __u32 at = bpf_get_prandom_u32();
  for (int i = 0; i < PORT_TRIES; i++) {
    __u16 port = bpf_htons(MASQUERADE_FIRST + (at + i * 7919u) % MASQUERADE_COUNT);
    back.destination_port = port;
    if (bpf_map_update_elem(&flows, &back, &client, BPF_NOEXIST) == 0) {
      wish->address = own;
      wish->port = port;
      return true;
    }
  }
  return false;
}

#endif
