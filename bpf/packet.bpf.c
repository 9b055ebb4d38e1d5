/* Services for packets, on the node's network devices (tc, both ways): what comes from outside to NodePorts, load
 * balancer and external addresses (packet_in, packet_out), and what pods send to services past the hooks at the socket
 * (packet_pod, both ways of the node's side of their devices): pods in virtual machines, raw sockets, and
 * load balancer addresses with source ranges, which can only be checked once a packet has a source.
 *
 * Destinations are changed on the way in, sources on the way out; routing, TTL, MTU, neighbours and the node's firewall
 * stay the kernel's business, and no packet ever claims a local address where the kernel would drop it as a martian.
 * The connection table is described in layout.h.
 *
 * Not touched: VLAN tags in the frame, protocols other than TCP, UDP, SCTP and their ICMP errors, but for ICMP echo to
 * cluster IPs. Packets go on to others' programs at the same hook (TC_ACT_UNSPEC). */
#define SKIFF_NO_KERNEL_TYPES
#include "cluster_ips.bpf.h"
#include "direct_return.bpf.h"

/* The frontend that a packet is for. Loopback entries are not for packets. With SKIFF_FRONTEND_REFUSE: a service's
 * address, but not a port of it. */
static __always_inline struct skiff_frontend* find(const struct packet* p) {
  struct skiff_frontend_key key = {.address = p->destination, .port = p->destination_port, .protocol = p->protocol};
  struct skiff_frontend* f = bpf_map_lookup_elem(&frontends, &key);
  if (f) return f;
  struct skiff_frontend_key other = {.address = p->destination};
  struct skiff_frontend* address = bpf_map_lookup_elem(&frontends, &other);
  if (!address) return 0;
  if (address->flags & SKIFF_FRONTEND_REFUSE) return address;
  if (!(address->flags & SKIFF_FRONTEND_NODE_ADDRESS) || (address->flags & SKIFF_FRONTEND_HOST_ONLY)) return 0;
  other.address = (struct skiff_address){};
  other.port = p->destination_port;
  other.protocol = p->protocol;
  other.scope = p->v6 ? SKIFF_SCOPE_NODE_PORT6 : SKIFF_SCOPE_NODE_PORT4;
  return bpf_map_lookup_elem(&frontends, &other);
}

#define CAME_IN 0x5cf1 /* tc_index of packets that came in by a pod's device and were looked at */

enum outcome { PICKED, PASS, NONE, AGAIN, FORBIDDEN, DROPPED };

/* The same on every node, so that a client whose packets change nodes stays with its endpoint: the destination, which
 * may be a node's own address, does not count. */
static __always_inline __u32 flow_hash(const struct packet* p) {
  __u32 h = (__u32)p->source_port << 16 | p->protocol;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    h = (h ^ p->source.word[i]) * 0x9e3779b1u;
    h ^= h >> 15;
  }
  h *= 0x85ebca6bu;
  h ^= h >> 13;
  h *= 0xc2b2ae35u;
  return h ^ h >> 16;
}

/* Whether answers of the endpoint would find their way. */
GLOBAL int has_answers(const struct packet* p, const struct choice* c) {
  if (!p || !c) return false;
  struct skiff_flow_key key = {
      .source = c->address,
      .destination = p->source,
      .source_port = c->port,
      .destination_port = p->source_port,
      .protocol = p->protocol,
      .kind = SKIFF_FLOW_FROM_SERVICE,
  };
  return bpf_map_lookup_elem(&flows, &key) != 0;
}

GLOBAL int pick(const struct packet* p, struct choice* c, bool pod, int attempt) {
  if (!p || !c) return PASS;
  struct skiff_frontend* f = find(p);
  if (!f) return PASS;
  if (f->flags & SKIFF_FRONTEND_REFUSE) return NONE;
  if ((f->flags & SKIFF_FRONTEND_RANGES) && !in_source_ranges(f->service, &p->source)) return FORBIDDEN;
  /* Pods are clients inside the cluster, whatever address of the service they use. */
  struct skiff_range set = pod ? f->inside : f->outside;
  bool local = f->flags & (pod ? SKIFF_FRONTEND_INSIDE_LOCAL : SKIFF_FRONTEND_OUTSIDE_LOCAL);
  if (!set.count) {
    count_service(f->service, true);
    return f->flags & (pod ? SKIFF_FRONTEND_INSIDE_DROP : SKIFF_FRONTEND_OUTSIDE_DROP) ? DROPPED : NONE;
  }
  __u8 state = local ? SKIFF_BACKEND_LOCAL : SKIFF_BACKEND_CLUSTER;
  struct skiff_affinity_key client = {.service = f->service};
  client.client[0] = p->source.word[0];
  client.client[1] = p->source.word[1];
  client.client[2] = p->source.word[2];
  client.client[3] = p->source.word[3];
  bool affine = f->affinity_seconds != 0;
  if (affine && pick_affine(f, &client, state, c)) return PICKED;
  __u32 number = f->flags & SKIFF_FRONTEND_MAGLEV ? flow_hash(p) + attempt : bpf_get_prandom_u32();
  if (!pick_slot(f, &set, number, state, c)) {
    count(SKIFF_COUNT_RETRY);
    return AGAIN;
  }
  if (affine) {
    struct skiff_affinity a = {.used = bpf_ktime_get_ns(), .backend = c->backend};
    bpf_map_update_elem(&affinity, &client, &a, BPF_ANY);
  }
  return PICKED;
}

static __always_inline bool is_to_node(const struct packet* p) {
  struct skiff_frontend_key address = {.address = p->destination};
  struct skiff_frontend* node = bpf_map_lookup_elem(&frontends, &address);
  return node && (node->flags & SKIFF_FRONTEND_NODE_ADDRESS);
}

/* The node itself refuses, with RST or ICMP, for nobody listens there: a NodePort by itself, an address that is not the
 * node's by way of port 0 of this device's address. The flow makes the refusal come from the service. */
GLOBAL int refuse(struct __sk_buff* skb, const struct packet* p, bool pod, __u64 now) {
  if (!p) return TC_ACT_SHOT;
  if (is_to_node(p)) return TC_ACT_UNSPEC;
  struct skiff_flow_key back = {
      .destination = p->source,
      .destination_port = p->source_port,
      .protocol = p->protocol,
      .kind = SKIFF_FLOW_FROM_SERVICE,
  };
  if (!own_address(skb, p->v6, &back.source)) return TC_ACT_SHOT;
  struct skiff_flow service = {.used = now, .address = p->destination, .port = p->destination_port};
  if (bpf_map_update_elem(&flows, &back, &service, BPF_ANY) < 0) return TC_ACT_SHOT;
  if (pod) note_pod_flow(&p->source, now);
  return rewrite(skb, p, false, &back.source, 0) ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

/* Whether the source is a pod of this cluster as detectLocalMode has it; without such a mode everybody is. */
static __always_inline bool is_local(struct __sk_buff* skb, const struct packet* p, const struct skiff_settings* s) {
  if (s->flags & SKIFF_SETTING_LOCAL_BY_DEVICE) {
    __u32 ifindex = skb->ifindex;
    struct skiff_device* device = bpf_map_lookup_elem(&devices, &ifindex);
    return device && (device->flags & SKIFF_DEVICE_LOCAL);
  }
  if (!(s->flags & SKIFF_SETTING_LOCAL_BY_CIDR)) return true;
  const struct skiff_address* base = p->v6 ? &s->local_base6 : &s->local_base4;
  const struct skiff_address* mask = p->v6 ? &s->local_mask6 : &s->local_mask4;
  if (is_zero(mask)) return true; /* none of this family */
  struct skiff_address a = p->source;
  for (int i = 0; i < 4; i++) a.word[i] &= mask->word[i];
  return same_address(&a, base);
}

/* Answers must come back this way. Those of endpoints here do; those of endpoints on other nodes do for the cluster's
 * own pods; a pod that reaches itself must not see its own address as the other end. */
SUBPROGRAM int must_masquerade(struct __sk_buff* skb, const struct packet* p, const struct choice* c, bool here,
                               bool pod) {
  __u32 zero = 0;
  struct skiff_settings* s = bpf_map_lookup_elem(&settings, &zero);
  if (!s) return true;
  if (s->flags & SKIFF_SETTING_MASQUERADE_ALL) return true;
  if (!pod) return !here && !(s->flags & SKIFF_SETTING_DIRECT_RETURN);
  if (same_address(&p->source, &c->address)) return true;
  return !here && !is_local(skb, p, s);
}

static __always_inline int incoming(struct __sk_buff* skb, bool pod) {
  struct packet p;
  if (!parse_ip(skb, &p, ETH_SIZE, false)) return TC_ACT_UNSPEC;
  __u64 now = bpf_ktime_get_ns();
  if (is_icmp_error(skb, &p)) return translate_error(skb, &p); /* of a router behind the pod, too */
  if (is_echo(skb, &p)) return on_echo(skb, &p);
  if (!parse_ports(skb, &p)) {
    if (p.fragment == LATER && !pod) count(SKIFF_COUNT_PACKET_FRAGMENT);
    return TC_ACT_UNSPEC;
  }
  p.syn = opens_connection(skb, &p);
  if (!pod && p.more && p.fragment != LATER && settings_have(SKIFF_SETTING_DIRECT_RETURN) &&
      learn_service(skb, &p, now)) {
    return TC_ACT_UNSPEC;
  }
  bool opens = p.syn || (p.protocol == IPPROTO_UDP && p.fragment != LATER);
  bool known = !pod || has_flows(p.source.word[3]);
  if (!known && !opens) return TC_ACT_UNSPEC;
  struct skiff_flow_key key;
  struct skiff_flow* flow = 0;
  struct skiff_address to;
  if (known) {
    key_of(&key, &p, SKIFF_FLOW_TO_BACKEND);
    flow = bpf_map_lookup_elem(&flows, &key);
    if (!flow) {
      key.kind = SKIFF_FLOW_TO_CLIENT;
      struct skiff_flow* answer = bpf_map_lookup_elem(&flows, &key);
      if (answer) {
        touch(answer, now, pod ? &p.source : 0);
        to = answer->address;
        return rewrite(skb, &p, false, &to, answer->port) ? TC_ACT_UNSPEC : TC_ACT_SHOT;
      }
      key.kind = SKIFF_FLOW_TO_BACKEND;
    }
  }
  if (flow) {
    /* A TCP connection stays where it is until its end; a new one from the same port, and UDP, need a live endpoint. */
    bool good = true;
    if (opens) {
      /* A SYN that comes again, while its endpoint takes connections; else a new connection from the same port. */
      __u8 state = p.syn ? SKIFF_BACKEND_CLUSTER | SKIFF_BACKEND_LOCAL : SKIFF_BACKEND_SERVING;
      good = backend_is(backend_at(flow->backend), flow->service, &flow->address, flow->port, state) &&
             !older(now, flow->used, p.syn ? SYN_AGAIN_NS : UDP_IDLE_NS);
    }
    if (good) {
      struct choice same = {
          .address = flow->address, .backend = flow->backend, .service = flow->service, .port = flow->port};
      __u16 flags = flow->flags;
      bool step = touch(flow, now, pod ? &p.source : 0);
      if (opens && (p.syn || !has_answers(&p, &same))) {
        /* A new connection from the same port, or a socket that has talked past the service: other entries are gone. */
        __u32 how = (flags & SKIFF_FLOW_MASQUERADED ? OPEN_MASQUERADED : 0) |
                    (flags & SKIFF_FLOW_DIRECT_RETURN ? OPEN_DIRECT_RETURN : 0) | OPEN_FORCED;
        open_flow(&p, &same, how, now);
        if (flags & SKIFF_FLOW_MASQUERADED) note_pod_flow(&same.address, now);
      }
      if (!rewrite(skb, &p, false, &same.address, same.port)) return TC_ACT_SHOT;
      if ((flags & SKIFF_FLOW_DIRECT_RETURN) && (p.syn || step)) add_service(skb, &p);
      return TC_ACT_UNSPEC;
    }
    bpf_map_delete_elem(&flows, &key);
  } else if (!opens) {
    return TC_ACT_UNSPEC; /* no connection of ours */
  }
  struct choice c = {};
  bool placed = false, direct = false, masked = false;
  for (int i = 0; i < PICK_TRIES && !placed; i = next_try(i)) {
    int o = pick(&p, &c, pod, i);
    if (o == PASS) {
      if (known) {
        /* Past the service, from a port that has talked through it: the answers are the endpoint's own. */
        reverse_key_of(&key, &p, SKIFF_FLOW_FROM_SERVICE);
        if (bpf_map_lookup_elem(&flows, &key)) bpf_map_delete_elem(&flows, &key);
      }
      return TC_ACT_UNSPEC;
    }
    if (o == DROPPED) {
      count(SKIFF_COUNT_PACKET_POLICY);
      return TC_ACT_SHOT; /* as upstream: no answer */
    }
    if (o == NONE) {
      count(SKIFF_COUNT_PACKET_REFUSED);
      return refuse(skb, &p, pod, now);
    }
    if (o == FORBIDDEN) {
      count(SKIFF_COUNT_PACKET_RANGE);
      return TC_ACT_SHOT; /* as upstream: no answer */
    }
    if (o == AGAIN) continue;
    struct skiff_backend* b = backend_at(c.backend);
    bool here = b && (b->state & SKIFF_BACKEND_HERE);
    masked = must_masquerade(skb, &p, &c, here, pod);
    direct = !pod && !here && !masked;
    __u32 how = (masked ? OPEN_MASQUERADED : 0) | (direct ? OPEN_DIRECT_RETURN : 0);
    placed = open_flow(&p, &c, how | (i == PICK_TRIES - 1 ? OPEN_FORCED : 0), now);
  }
  if (!placed) return TC_ACT_SHOT;
  count(SKIFF_COUNT_PACKET_FLOW);
  count_service(c.service, false);
  if (masked) note_pod_flow(&c.address, now);
  if (pod) {
    count(SKIFF_COUNT_PACKET_POD);
    note_pod_flow(&p.source, now);
  }
  if (!rewrite(skb, &p, false, &c.address, c.port)) return TC_ACT_SHOT;
  if (direct) add_service(skb, &p);
  return TC_ACT_UNSPEC;
}

static __always_inline int outgoing(struct __sk_buff* skb, bool pod) {
  struct packet p;
  if (!parse_ip(skb, &p, ETH_SIZE, true)) return TC_ACT_UNSPEC;
  __u64 now = bpf_ktime_get_ns();
  if (is_icmp_error(skb, &p)) return translate_error(skb, &p);
  if (!parse_ports(skb, &p)) return pod ? TC_ACT_UNSPEC : guard(skb, &p);
  struct skiff_flow_key key;
  key_of(&key, &p, SKIFF_FLOW_FROM_SERVICE);
  struct skiff_flow* flow = bpf_map_lookup_elem(&flows, &key);
  struct skiff_address from;
  if (flow) {
    touch(flow, now, pod ? &p.destination : 0);
    from = flow->address;
    return rewrite(skb, &p, true, &from, flow->port) ? TC_ACT_UNSPEC : TC_ACT_SHOT;
  }
  key.kind = SKIFF_FLOW_MASQUERADE;
  flow = bpf_map_lookup_elem(&flows, &key);
  if (!flow) return pod ? TC_ACT_UNSPEC : guard(skb, &p);
  /* Now and then: the node's address may be another, and the way back have left the table. */
  bool step = touch(flow, now, pod ? &p.destination : 0);
  if ((!flow->port || step) && !masquerade(skb, &p, flow, now)) {
    count(SKIFF_COUNT_PACKET_NO_PORT);
    return TC_ACT_SHOT;
  }
  from = flow->address;
  return rewrite(skb, &p, true, &from, flow->port) ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

SEC("tc")
int packet_in(struct __sk_buff* skb) { return incoming(skb, false); }

SEC("tc")
int packet_out(struct __sk_buff* skb) { return outgoing(skb, false); }

GLOBAL int pod_incoming(struct __sk_buff* skb) { return incoming(skb, true); }
GLOBAL int pod_outgoing(struct __sk_buff* skb) { return outgoing(skb, true); }

/* Whether the packet comes in by this device. What goes out has come in by another one or by none, unless it turns
 * round here (a pod that reaches itself by way of the node): such a packet has the mark. Another program at the device
 * that sets tc_index would hide it. */
static __always_inline bool comes_in(struct __sk_buff* skb) {
  if (skb->ingress_ifindex == skb->ifindex && skb->tc_index != CAME_IN) {
    skb->tc_index = CAME_IN;
    return true;
  }
  if (skb->tc_index == CAME_IN) skb->tc_index = 0;
  return false;
}

/* One program for both ways, and no more than this look in it: what a packet costs is not the few instructions, but
 * that the processor has forgotten them since the packet before. A request and its answer between two pods of a node
 * pass here four times. Both addresses count, whichever way the packet goes: which way is not known of one that turned
 * round here without the mark. */
SEC("tc")
int packet_pod(struct __sk_buff* skb) {
  struct glance packet;
  bool strange =
      !glance_at(skb, &packet) || (any_pod_had_flows() && (has_flows(packet.source) || has_flows(packet.destination)));
  if (!strange && packet.goes_on) return TC_ACT_UNSPEC;
  if (comes_in(skb)) return pod_incoming(skb);
  return strange ? pod_outgoing(skb) : TC_ACT_UNSPEC;
}

/* At devices for the outside while there is no service for it. */
SEC("tc")
int packet_guard(struct __sk_buff* skb) {
  struct packet p;
  if (!parse_ip(skb, &p, ETH_SIZE, true) || !in_service_cidr(&p.destination)) return TC_ACT_UNSPEC;
  parse_ports(skb, &p);
  return guard(skb, &p);
}

char _license[] SEC("license") = "Dual BSD/GPL";
