/* Services for packets: what comes from outside to NodePorts, load balancer and external addresses, on the node's
 * network devices (tc, both ways). Destinations are changed on the way in, sources on the way out; routing, TTL, MTU,
 * neighbours and the node's firewall stay the kernel's business, and no packet ever claims a local address where the
 * kernel would drop it as a martian. The connection table is described in layout.h.
 *
 * ICMP errors are translated like the packets that they quote, outside and inside, so that path MTU discovery and
 * refusals reach those who sent them.
 *
 * Not touched: fragments (their ports are in the first one only), IPv6 with extension headers, VLAN tags in the frame,
 * protocols other than TCP, UDP and their ICMP errors. */
#define SKIFF_NO_KERNEL_TYPES
#include "service.bpf.h"

#include <bpf/bpf_endian.h>

#define ETH_SIZE 14
#define UDP_IDLE_NS (120ull * 1000000000ull) /* as conntrack's stream time-out: then the endpoint is chosen anew */
#define USED_STEP_NS 1000000000ull
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

struct packet {
  struct skiff_address source, destination;
  __u16 source_port, destination_port;
  __u8 protocol;
  bool v6;
  bool syn; /* opens a TCP connection */
  __u32 l3; /* offsets */
  __u32 l4;
};

struct ipv4 {
  __u8 version_ihl, tos;
  __be16 length, id, fragment;
  __u8 ttl, protocol;
  __sum16 checksum;
  __be32 source, destination;
};

struct ipv6 {
  __u32 version_class_flow;
  __be16 length;
  __u8 next, hops;
  struct skiff_address source, destination;
};

/* The IP header at `at`. `strict`: only whole packets; what an ICMP error quotes may be a first fragment too. */
static __always_inline bool parse_ip(struct __sk_buff* skb, struct packet* p, __u32 at, bool strict) {
  p->l3 = at;
  p->syn = false;
  if (skb->protocol == bpf_htons(ETH_P_IP)) {
    struct ipv4 ip;
    if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) < 0) return false;
    if (ip.version_ihl >> 4 != 4 || (ip.fragment & bpf_htons(strict ? 0x3fff : 0x1fff))) return false;
    p->v6 = false;
    p->protocol = ip.protocol;
    p->l4 = at + (ip.version_ihl & 15) * 4;
    p->source.word[0] = p->destination.word[0] = 0;
    p->source.word[1] = p->destination.word[1] = 0;
    p->source.word[2] = p->destination.word[2] = bpf_htonl(0xffff);
    p->source.word[3] = ip.source;
    p->destination.word[3] = ip.destination;
    return true;
  }
  if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
    struct ipv6 ip;
    if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) < 0) return false;
    p->v6 = true;
    p->protocol = ip.next;
    p->l4 = at + sizeof(ip);
    p->source = ip.source;
    p->destination = ip.destination;
    return true;
  }
  return false;
}

static __always_inline bool parse_ports(struct __sk_buff* skb, struct packet* p) {
  if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP) return false;
  __u16 ports[2];
  if (bpf_skb_load_bytes(skb, p->l4, ports, sizeof(ports)) < 0) return false;
  p->source_port = ports[0];
  p->destination_port = ports[1];
  return true;
}

/* Destination unreachable, packet too big, time exceeded, parameter problem: what quotes a packet. */
static __always_inline bool is_icmp_error(struct __sk_buff* skb, const struct packet* p) {
  if (p->protocol != (p->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) return false;
  __u8 type;
  if (bpf_skb_load_bytes(skb, p->l4, &type, 1) < 0) return false;
  return p->v6 ? type >= 1 && type <= 4 : type == 3 || type == 11 || type == 12;
}

/* Checksums, and the packet's own idea of them where a device fills them in, follow incrementally. */
static __always_inline bool rewrite(struct __sk_buff* skb, const struct packet* p, bool source,
                                    struct skiff_address* address, __u16 port) {
  struct skiff_address old = source ? p->source : p->destination;
  __u16 old_port = source ? p->source_port : p->destination_port;
  bool udp = p->protocol == IPPROTO_UDP;
  __u32 check = p->l4 + (udp ? 6 : 16);
  __u64 mangled = udp ? BPF_F_MARK_MANGLED_0 : 0; /* UDP over IPv4 may go without checksum */
  if (p->v6) {
    __s64 diff = bpf_csum_diff((__be32*)&old, sizeof(old), (__be32*)address, sizeof(*address), 0);
    if (diff < 0 || bpf_l4_csum_replace(skb, check, 0, diff, BPF_F_PSEUDO_HDR | mangled) < 0) return false;
    if (bpf_skb_store_bytes(skb, p->l3 + (source ? 8 : 24), address, sizeof(*address), 0) < 0) return false;
  } else {
    if (bpf_l4_csum_replace(skb, check, old.word[3], address->word[3], BPF_F_PSEUDO_HDR | mangled | 4) < 0)
      return false;
    if (bpf_l3_csum_replace(skb, p->l3 + 10, old.word[3], address->word[3], 4) < 0) return false;
    if (bpf_skb_store_bytes(skb, p->l3 + (source ? 12 : 16), &address->word[3], 4, 0) < 0) return false;
  }
  if (old_port == port) return true;
  if (bpf_l4_csum_replace(skb, check, old_port, port, mangled | 2) < 0) return false;
  return bpf_skb_store_bytes(skb, p->l4 + (source ? 0 : 2), &port, 2, 0) >= 0;
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

/* The flow that a quoted packet belongs to: it went the other way, so its ends are exchanged. */
static __always_inline struct skiff_flow* quoted_flow(const struct packet* q, __u8 kind) {
  struct skiff_flow_key key = {
      .source = q->destination,
      .destination = q->source,
      .source_port = q->destination_port,
      .destination_port = q->source_port,
      .protocol = q->protocol,
      .kind = kind,
  };
  return bpf_map_lookup_elem(&flows, &key);
}

/* `in`: an error about a packet that we masqueraded, for the client. Out: one about a packet that we sent to an
 * endpoint, to show the service. */
static __always_inline int translate_error(struct __sk_buff* skb, const struct packet* error, bool in) {
  struct packet quoted;
  if (!parse_ip(skb, &quoted, error->l4 + 8, false) || !parse_ports(skb, &quoted)) return TC_ACT_OK;
  struct skiff_flow* flow = quoted_flow(&quoted, in ? SKIFF_FLOW_TO_CLIENT : SKIFF_FLOW_FROM_SERVICE);
  if (!flow) return TC_ACT_OK;
  struct skiff_address to = flow->address;
  return rewrite_error(skb, error, &quoted, in, &to, flow->port) ? TC_ACT_OK : TC_ACT_SHOT;
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

static __always_inline void touch(struct skiff_flow* flow, __u64 now) {
  if (now - flow->used > USED_STEP_NS) flow->used = now;
}

/* The frontend that a packet from outside is for. Loopback entries are not for packets. */
static __always_inline struct skiff_frontend* find(const struct packet* p) {
  struct skiff_frontend_key key = {.address = p->destination, .port = p->destination_port, .protocol = p->protocol};
  struct skiff_frontend* f = bpf_map_lookup_elem(&frontends, &key);
  if (f) return f;
  struct skiff_frontend_key other = {.address = p->destination};
  struct skiff_frontend* address = bpf_map_lookup_elem(&frontends, &other);
  if (!address || !(address->flags & SKIFF_FRONTEND_NODE_ADDRESS) || (address->flags & SKIFF_FRONTEND_HOST_ONLY)) {
    return 0;
  }
  other.address = (struct skiff_address){};
  other.port = p->destination_port;
  other.protocol = p->protocol;
  other.scope = p->v6 ? SKIFF_SCOPE_NODE_PORT6 : SKIFF_SCOPE_NODE_PORT4;
  return bpf_map_lookup_elem(&frontends, &other);
}

enum outcome { PICKED, PASS, NONE, AGAIN, FORBIDDEN };

static __always_inline enum outcome pick(const struct packet* p, struct choice* c) {
  struct skiff_frontend* f = find(p);
  if (!f || (f->flags & SKIFF_FRONTEND_REFUSE)) return PASS;
  if (f->flags & SKIFF_FRONTEND_RANGES) {
    struct skiff_source_range range = {.prefix = 160, .service = f->service, .source = p->source};
    if (!bpf_map_lookup_elem(&source_ranges, &range)) return FORBIDDEN;
  }
  if (!f->outside.count) return NONE;
  __u8 state = f->flags & SKIFF_FRONTEND_OUTSIDE_LOCAL ? SKIFF_BACKEND_LOCAL : SKIFF_BACKEND_CLUSTER;
  struct skiff_affinity_key client = {.service = f->service};
  client.client[0] = p->source.word[0];
  client.client[1] = p->source.word[1];
  client.client[2] = p->source.word[2];
  client.client[3] = p->source.word[3];
  bool affine = f->affinity_seconds != 0;
  if (affine && pick_affine(f, &client, state, c)) return PICKED;
  if (!pick_random(f, &f->outside, state, c)) {
    count(SKIFF_COUNT_RETRY);
    return AGAIN;
  }
  if (affine) {
    struct skiff_affinity a = {.used = bpf_ktime_get_ns(), .backend = c->backend};
    bpf_map_update_elem(&affinity, &client, &a, BPF_ANY);
  }
  return PICKED;
}

/* Entries for a new connection: the way there, the way back, and for an endpoint on another node the wish to
 * masquerade. The last is made good on the way out, when the device is known. */
static __always_inline bool open_flow(const struct packet* p, const struct choice* c, bool here, __u64 now,
                                      bool force) {
  struct skiff_flow_key back = {
      .source = c->address,
      .destination = p->source,
      .source_port = c->port,
      .destination_port = p->source_port,
      .protocol = p->protocol,
      .kind = SKIFF_FLOW_FROM_SERVICE,
  };
  struct skiff_flow service = {
      .used = now,
      .address = p->destination,
      .backend = c->backend,
      .service = c->service,
      .port = p->destination_port,
  };
  struct skiff_flow* other = bpf_map_lookup_elem(&flows, &back);
  if (other && !force && (other->port != service.port || !same_address(&other->address, &service.address))) {
    /* The client talks from one port to two addresses of services, and both lead to this endpoint: its answers could
     * not be told apart. Another endpoint may do. */
    return false;
  }
  if (bpf_map_update_elem(&flows, &back, &service, BPF_ANY) < 0) return false;
  if (!here) {
    struct skiff_flow_key out = {
        .source = p->source,
        .destination = c->address,
        .source_port = p->source_port,
        .destination_port = c->port,
        .protocol = p->protocol,
        .kind = SKIFF_FLOW_MASQUERADE,
    };
    struct skiff_flow wish = {.used = now, .backend = c->backend, .service = c->service};
    if (!bpf_map_lookup_elem(&flows, &out) && bpf_map_update_elem(&flows, &out, &wish, BPF_ANY) < 0) return false;
  }
  struct skiff_flow_key there;
  key_of(&there, p, SKIFF_FLOW_TO_BACKEND);
  struct skiff_flow backend = {
      .used = now,
      .address = c->address,
      .backend = c->backend,
      .service = c->service,
      .port = c->port,
  };
  return bpf_map_update_elem(&flows, &there, &backend, BPF_ANY) >= 0;
}

/* The node itself refuses, with RST or ICMP, for nobody listens there: a NodePort by itself, an address that is not the
 * node's by way of port 0 of this device's address. The flow makes the refusal come from the service. */
static __always_inline int refuse(struct __sk_buff* skb, const struct packet* p, __u64 now) {
  struct skiff_frontend_key address = {.address = p->destination};
  struct skiff_frontend* node = bpf_map_lookup_elem(&frontends, &address);
  if (node && (node->flags & SKIFF_FRONTEND_NODE_ADDRESS)) return TC_ACT_OK;
  __u32 ifindex = skb->ifindex;
  struct skiff_device* device = bpf_map_lookup_elem(&devices, &ifindex);
  if (!device) return TC_ACT_SHOT;
  struct skiff_address own = p->v6 ? device->v6 : device->v4;
  if (!own.word[0] && !own.word[1] && !own.word[2] && !own.word[3]) return TC_ACT_SHOT;
  struct skiff_flow_key back = {
      .source = own,
      .destination = p->source,
      .destination_port = p->source_port,
      .protocol = p->protocol,
      .kind = SKIFF_FLOW_FROM_SERVICE,
  };
  struct skiff_flow service = {.used = now, .address = p->destination, .port = p->destination_port};
  if (bpf_map_update_elem(&flows, &back, &service, BPF_ANY) < 0) return TC_ACT_SHOT;
  return rewrite(skb, p, false, &own, 0) ? TC_ACT_OK : TC_ACT_SHOT;
}

SEC("tc")
int packet_in(struct __sk_buff* skb) {
  struct packet p;
  if (!parse_ip(skb, &p, ETH_SIZE, true)) return TC_ACT_OK;
  if (is_icmp_error(skb, &p)) return translate_error(skb, &p, true);
  if (!parse_ports(skb, &p)) return TC_ACT_OK;
  if (p.protocol == IPPROTO_TCP) {
    __u8 flags;
    if (bpf_skb_load_bytes(skb, p.l4 + 13, &flags, 1) < 0) return TC_ACT_OK;
    p.syn = (flags & 0x12) == 0x02; /* SYN without ACK */
  }
  __u64 now = bpf_ktime_get_ns();
  struct skiff_flow_key key;
  key_of(&key, &p, SKIFF_FLOW_TO_CLIENT);
  struct skiff_flow* flow = bpf_map_lookup_elem(&flows, &key);
  struct skiff_address to;
  if (flow) {
    touch(flow, now);
    to = flow->address;
    return rewrite(skb, &p, false, &to, flow->port) ? TC_ACT_OK : TC_ACT_SHOT;
  }
  key.kind = SKIFF_FLOW_TO_BACKEND;
  flow = bpf_map_lookup_elem(&flows, &key);
  if (flow) {
    /* A TCP connection stays where it is until its end; a new one from the same port, and UDP, need a live endpoint. */
    bool good = true;
    if (p.syn || p.protocol == IPPROTO_UDP) {
      good = backend_is(backend_at(flow->backend), flow->service, &flow->address, flow->port, SKIFF_BACKEND_SERVING);
      if (p.protocol == IPPROTO_UDP && now - flow->used > UDP_IDLE_NS) good = false;
    }
    if (good) {
      touch(flow, now);
      to = flow->address;
      return rewrite(skb, &p, false, &to, flow->port) ? TC_ACT_OK : TC_ACT_SHOT;
    }
    bpf_map_delete_elem(&flows, &key);
  } else if (p.protocol == IPPROTO_TCP && !p.syn) {
    return TC_ACT_OK; /* no connection of ours */
  }
  struct choice c = {};
  bool placed = false;
  for (int i = 0; i < PICK_TRIES && !placed; i++) {
    enum outcome o = pick(&p, &c);
    if (o == PASS) return TC_ACT_OK;
    if (o == NONE) {
      count(SKIFF_COUNT_PACKET_REFUSED);
      return refuse(skb, &p, now);
    }
    if (o == FORBIDDEN) {
      count(SKIFF_COUNT_PACKET_RANGE);
      return TC_ACT_SHOT; /* as upstream: no answer */
    }
    if (o == AGAIN) continue;
    struct skiff_backend* b = backend_at(c.backend);
    bool here = b && (b->state & SKIFF_BACKEND_HERE);
    placed = open_flow(&p, &c, here, now, i == PICK_TRIES - 1);
  }
  if (!placed) return TC_ACT_SHOT;
  count(SKIFF_COUNT_PACKET_FLOW);
  return rewrite(skb, &p, false, &c.address, c.port) ? TC_ACT_OK : TC_ACT_SHOT;
}

/* A port of the node that no other connection to this endpoint uses. */
static __always_inline bool masquerade(struct __sk_buff* skb, const struct packet* p, struct skiff_flow* wish,
                                       __u64 now) {
  __u32 ifindex = skb->ifindex;
  struct skiff_device* device = bpf_map_lookup_elem(&devices, &ifindex);
  if (!device) return false;
  struct skiff_address own = p->v6 ? device->v6 : device->v4;
  if (!own.word[0] && !own.word[1] && !own.word[2] && !own.word[3]) return false;
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

SEC("tc")
int packet_out(struct __sk_buff* skb) {
  struct packet p;
  if (!parse_ip(skb, &p, ETH_SIZE, true)) return TC_ACT_OK;
  if (is_icmp_error(skb, &p)) return translate_error(skb, &p, false);
  if (!parse_ports(skb, &p)) return TC_ACT_OK;
  __u64 now = bpf_ktime_get_ns();
  struct skiff_flow_key key;
  key_of(&key, &p, SKIFF_FLOW_FROM_SERVICE);
  struct skiff_flow* flow = bpf_map_lookup_elem(&flows, &key);
  struct skiff_address from;
  if (flow) {
    touch(flow, now);
    from = flow->address;
    return rewrite(skb, &p, true, &from, flow->port) ? TC_ACT_OK : TC_ACT_SHOT;
  }
  key.kind = SKIFF_FLOW_MASQUERADE;
  flow = bpf_map_lookup_elem(&flows, &key);
  if (!flow) return TC_ACT_OK;
  if (!flow->port && !masquerade(skb, &p, flow, now)) {
    count(SKIFF_COUNT_PACKET_NO_PORT);
    return TC_ACT_SHOT;
  }
  touch(flow, now);
  from = flow->address;
  return rewrite(skb, &p, true, &from, flow->port) ? TC_ACT_OK : TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
