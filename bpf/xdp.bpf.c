/* The short way for traffic from outside to endpoints on other nodes: connections that the tc programs (packet.bpf.c)
 * have placed are forwarded, translated on both sides, before the kernel makes a packet of them. Everything else is
 * passed on: what opens or ends a connection, fragments, options, errors, endpoints on this node, and of each
 * connection a packet a second, so that the tc programs, which alone decide, see that it lives and may place it anew.
 * What is forwarded here is seen by no firewall rule and no capture of this node, hence it is an option. */
#define SKIFF_NO_KERNEL_TYPES
#include "flows.bpf.h"

struct ethernet {
  __u8 destination[6], source[6];
  __be16 protocol;
};

struct tcp {
  __be16 source, destination;
  __u32 sequence, acknowledgement;
  __u8 offset, flags;
  __be16 window, checksum, urgent;
};

struct udp {
  __be16 source, destination, length, checksum;
};

#define TCP_OPENS_OR_ENDS 0x07 /* FIN, SYN, RST */

/* What L4 checksums cover, of what we change. */
struct ends {
  struct skiff_address source, destination;
  __be16 source_port, destination_port;
};

static __always_inline __u16 fold(__s64 sum) {
  __u64 s = (__u64)sum;
  s = (s & 0xffff) + ((s >> 16) & 0xffff) + ((s >> 32) & 0xffff) + (s >> 48);
  s = (s & 0xffff) + (s >> 16);
  s = (s & 0xffff) + (s >> 16);
  return (__u16)~s;
}

/* Both translations of a packet that passes this node: `to` is what it becomes. False: not one of ours, or one for the
 * tc programs. */
static __always_inline bool translate(const struct packet* p, struct ends* to, __u64 now) {
  struct skiff_flow_key key;
  key_of(&key, p, SKIFF_FLOW_TO_BACKEND);
  struct skiff_flow* flow = bpf_map_lookup_elem(&flows, &key);
  if (flow) {
    if (older(now, flow->used, USED_STEP_NS) || !(flow->flags & (SKIFF_FLOW_MASQUERADED | SKIFF_FLOW_DIRECT_RETURN))) {
      return false;
    }
    if (p->protocol == IPPROTO_UDP &&
        !backend_is(backend_at(flow->backend), flow->service, &flow->address, flow->port, SKIFF_BACKEND_SERVING)) {
      return false;
    }
    to->destination = flow->address;
    to->destination_port = flow->port;
    to->source = p->source;
    to->source_port = p->source_port;
    if (flow->flags & SKIFF_FLOW_DIRECT_RETURN) return true;
    key.destination = to->destination;
    key.destination_port = to->destination_port;
    key.kind = SKIFF_FLOW_MASQUERADE;
    flow = bpf_map_lookup_elem(&flows, &key);
    if (!flow || !flow->port) return false;
    to->source = flow->address;
    to->source_port = flow->port;
    return true;
  }
  key.kind = SKIFF_FLOW_TO_CLIENT;
  flow = bpf_map_lookup_elem(&flows, &key);
  if (!flow || older(now, flow->used, USED_STEP_NS)) return false;
  to->destination = flow->address;
  to->destination_port = flow->port;
  key.destination = to->destination;
  key.destination_port = to->destination_port;
  key.kind = SKIFF_FLOW_FROM_SERVICE;
  flow = bpf_map_lookup_elem(&flows, &key);
  if (!flow) return false;
  to->source = flow->address;
  to->source_port = flow->port;
  return true;
}

SEC("xdp")
int packet_xdp(struct xdp_md* ctx) {
  void *data = (void*)(long)ctx->data, *end = (void*)(long)ctx->data_end;
  struct ethernet* eth = data;
  if ((void*)(eth + 1) > end) return XDP_PASS;
  struct packet p = {};
  struct ipv4* ip4 = 0;
  struct ipv6* ip6 = 0;
  void* l4;
  __u16 length;
  if (eth->protocol == bpf_htons(ETH_P_IP)) {
    ip4 = (void*)(eth + 1);
    if ((void*)(ip4 + 1) > end) return XDP_PASS;
    if (ip4->version_ihl != 0x45 || (ip4->fragment & bpf_htons(0x3fff)) || ip4->ttl <= 1) return XDP_PASS;
    p.protocol = ip4->protocol;
    length = bpf_ntohs(ip4->length);
    mapped_address(&p.source, ip4->source);
    mapped_address(&p.destination, ip4->destination);
    l4 = ip4 + 1;
  } else if (eth->protocol == bpf_htons(ETH_P_IPV6)) {
    ip6 = (void*)(eth + 1);
    if ((void*)(ip6 + 1) > end) return XDP_PASS;
    if (ip6->hops <= 1) return XDP_PASS;
    p.v6 = true;
    p.protocol = ip6->next;
    length = bpf_ntohs(ip6->length) + sizeof(*ip6);
    p.source = ip6->source;
    p.destination = ip6->destination;
    l4 = ip6 + 1;
  } else {
    return XDP_PASS;
  }
  struct tcp* tcp = 0;
  struct udp* udp = 0;
  if (p.protocol == IPPROTO_TCP) {
    tcp = l4;
    if ((void*)(tcp + 1) > end || (tcp->flags & TCP_OPENS_OR_ENDS)) return XDP_PASS;
    p.source_port = tcp->source;
    p.destination_port = tcp->destination;
  } else if (p.protocol == IPPROTO_UDP) {
    udp = l4;
    if ((void*)(udp + 1) > end) return XDP_PASS;
    p.source_port = udp->source;
    p.destination_port = udp->destination;
  } else {
    return XDP_PASS;
  }
  struct ends to = {}, from = {.source = p.source,
                               .destination = p.destination,
                               .source_port = p.source_port,
                               .destination_port = p.destination_port};
  if (!translate(&p, &to, bpf_ktime_get_ns())) return XDP_PASS;

  struct bpf_fib_lookup fib = {};
  fib.l4_protocol = p.protocol;
  fib.sport = to.source_port;
  fib.dport = to.destination_port;
  fib.tot_len = length;
  fib.ifindex = ctx->ingress_ifindex;
  if (p.v6) {
    fib.family = AF_INET6;
    __builtin_memcpy(fib.ipv6_src, &to.source, sizeof(fib.ipv6_src));
    __builtin_memcpy(fib.ipv6_dst, &to.destination, sizeof(fib.ipv6_dst));
  } else {
    fib.family = AF_INET;
    fib.ipv4_src = to.source.word[3];
    fib.ipv4_dst = to.destination.word[3];
  }
  /* No neighbour yet, too large, not a way that forwards: the kernel knows what to do. */
  if (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS) return XDP_PASS;
  __u32 out = fib.ifindex;
  struct skiff_device* device = bpf_map_lookup_elem(&devices, &out);
  if (!device || !(device->flags & SKIFF_DEVICE_XDP)) return XDP_PASS; /* it may not take packets from here */

  __u32 size = sizeof(struct ends);
  if (tcp) {
    tcp->checksum = fold(bpf_csum_diff((__be32*)&from, size, (__be32*)&to, size, (__u16)~tcp->checksum));
    tcp->source = to.source_port;
    tcp->destination = to.destination_port;
  } else if (udp) {
    if (udp->checksum) {
      __u16 sum = fold(bpf_csum_diff((__be32*)&from, size, (__be32*)&to, size, (__u16)~udp->checksum));
      udp->checksum = sum ? sum : 0xffff;
    }
    udp->source = to.source_port;
    udp->destination = to.destination_port;
  }
  if (ip4) {
    __be32 before[3] = {ip4->source, ip4->destination, bpf_htonl((__u32)ip4->ttl << 24)};
    __be32 after[3] = {to.source.word[3], to.destination.word[3], bpf_htonl((__u32)(ip4->ttl - 1) << 24)};
    ip4->checksum = fold(bpf_csum_diff(before, sizeof(before), after, sizeof(after), (__u16)~ip4->checksum));
    ip4->source = to.source.word[3];
    ip4->destination = to.destination.word[3];
    ip4->ttl--;
  } else if (ip6) {
    ip6->source = to.source;
    ip6->destination = to.destination;
    ip6->hops--;
  }
  __builtin_memcpy(eth->destination, fib.dmac, sizeof(eth->destination));
  __builtin_memcpy(eth->source, fib.smac, sizeof(eth->source));
  count(SKIFF_COUNT_PACKET_XDP);
  return out == ctx->ingress_ifindex ? XDP_TX : bpf_redirect(out, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
