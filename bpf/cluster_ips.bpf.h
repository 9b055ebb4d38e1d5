/* Cluster IPs that are no service's port: upstream refuses whatever else is sent to a service's address, ICMP echo too,
 * and drops what leaves the node for an address that no service has (of those that ServiceCIDR objects set aside). Not
 * what comes in: another proxy on the node may translate it (the label service.kubernetes.io/service-proxy-name). */
#ifndef SKIFF_BPF_CLUSTER_IPS_BPF_H_
#define SKIFF_BPF_CLUSTER_IPS_BPF_H_

#include "flows.bpf.h"

static __always_inline bool in_service_cidr(const struct skiff_address* a) {
  __u32 zero = 0;
  struct skiff_settings* s = bpf_map_lookup_elem(&settings, &zero);
  if (!s) return false;
  for (__u32 i = 0; i < SKIFF_MAX_SERVICE_CIDRS; i++) {
    const struct skiff_prefix* c = &s->service_cidr[i];
    if (i >= s->service_cidrs) return false;
    if ((a->word[3] & c->mask.word[3]) == c->base.word[3] && (a->word[2] & c->mask.word[2]) == c->base.word[2] &&
        (a->word[1] & c->mask.word[1]) == c->base.word[1] && (a->word[0] & c->mask.word[0]) == c->base.word[0]) {
      return true;
    }
  }
  return false;
}

static __always_inline bool is_echo(struct __sk_buff* skb, const struct packet* p) {
  if (p->protocol != (p->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) || p->fragment == LATER) return false;
  __u8 type;
  if (bpf_skb_load_bytes(skb, p->l4, &type, 1) < 0) return false;
  return type == (p->v6 ? 128 : 8);
}

#define QUOTED 8 /* of what follows the IP header, in an error */

struct error4 {
  struct ipv4 ip;
  struct {
    __u8 type, code;
    __u16 checksum;
    __u32 unused;
    struct ipv4 ip;
    __u8 data[QUOTED];
  } icmp;
};

struct error6 {
  struct ipv6 ip;
  struct {
    __u8 type, code;
    __u16 checksum;
    __u32 unused;
    struct ipv6 ip;
    __u8 data[QUOTED];
  } icmp;
};

static __always_inline __u16 fold_sum(__s64 sum) {
  __u32 s = (__u32)sum;
  s = (s & 0xffff) + (s >> 16);
  s = (s & 0xffff) + (s >> 16);
  return (__u16)~s;
}

/* Turns a packet into the error "port unreachable" about itself, from `from`, and its frame round. */
static __always_inline bool make_unreachable(struct __sk_buff* skb, const struct packet* p,
                                             const struct skiff_address* from) {
  __u8 macs[12], swapped[12];
  if (bpf_skb_load_bytes(skb, 0, macs, sizeof(macs)) < 0) return false;
  __builtin_memcpy(swapped, macs + 6, 6);
  __builtin_memcpy(swapped + 6, macs, 6);
  if (p->v6) {
    struct error6 e = {};
    if (bpf_skb_load_bytes(skb, p->l3, &e.icmp.ip, sizeof(e.icmp.ip) + QUOTED) < 0) return false;
    e.ip = (struct ipv6){.version_class_flow = bpf_htonl(6u << 28),
                         .length = bpf_htons(sizeof(e.icmp)),
                         .next = IPPROTO_ICMPV6,
                         .hops = 64,
                         .source = *from,
                         .destination = p->source};
    e.icmp.type = 1;
    e.icmp.code = 4;
    __be32 pseudo[2] = {bpf_htonl(sizeof(e.icmp)), bpf_htonl(IPPROTO_ICMPV6)};
    __s64 sum = bpf_csum_diff(0, 0, (__be32*)&e.ip.source, 32, 0);
    sum = bpf_csum_diff(0, 0, pseudo, sizeof(pseudo), sum);
    e.icmp.checksum = fold_sum(bpf_csum_diff(0, 0, (__be32*)&e.icmp, sizeof(e.icmp), sum));
    if (bpf_skb_change_tail(skb, p->l3 + sizeof(e), 0) < 0) return false;
    if (bpf_skb_store_bytes(skb, p->l3, &e, sizeof(e), BPF_F_RECOMPUTE_CSUM) < 0) return false;
  } else {
    struct error4 e = {};
    if (bpf_skb_load_bytes(skb, p->l3, &e.icmp.ip, sizeof(e.icmp.ip) + QUOTED) < 0) return false;
    e.ip = (struct ipv4){.version_ihl = 0x45,
                         .length = bpf_htons(sizeof(e)),
                         .fragment = bpf_htons(0x4000),
                         .ttl = 64,
                         .protocol = IPPROTO_ICMP,
                         .source = from->word[3],
                         .destination = p->source.word[3]};
    e.ip.checksum = fold_sum(bpf_csum_diff(0, 0, (__be32*)&e.ip, sizeof(e.ip), 0));
    e.icmp.type = 3;
    e.icmp.code = 3;
    e.icmp.checksum = fold_sum(bpf_csum_diff(0, 0, (__be32*)&e.icmp, sizeof(e.icmp), 0));
    if (bpf_skb_change_tail(skb, p->l3 + sizeof(e), 0) < 0) return false;
    if (bpf_skb_store_bytes(skb, p->l3, &e, sizeof(e), BPF_F_RECOMPUTE_CSUM) < 0) return false;
  }
  return bpf_skb_store_bytes(skb, 0, swapped, sizeof(swapped), 0) >= 0;
}

/* ICMP echo: answered at once, by the way that it came. Coming in, this device's own address answers as upstream's
 * does; going out, where the answer comes in again, an address of the node's would be a martian, and the service's own
 * must do. */
GLOBAL int on_echo(struct __sk_buff* skb, const struct packet* p) {
  if (!p) return TC_ACT_UNSPEC;
  struct skiff_frontend_key key = {.address = p->destination};
  struct skiff_frontend* address = bpf_map_lookup_elem(&frontends, &key);
  if (!address) {
    if (!p->out || !in_service_cidr(&p->destination)) return TC_ACT_UNSPEC;
    count(SKIFF_COUNT_PACKET_UNKNOWN);
    return TC_ACT_SHOT;
  }
  if (!(address->flags & SKIFF_FRONTEND_REFUSE)) return TC_ACT_UNSPEC;
  count(SKIFF_COUNT_PACKET_ECHO);
  /* Options, extension headers and fragments are not worth an answer. */
  if (p->more || p->fragment != WHOLE) return TC_ACT_SHOT;
  struct skiff_address from;
  if (p->out || !own_address(skb, p->v6, &from) || same_address(&from, &p->source)) from = p->destination;
  if (!make_unreachable(skb, p, &from)) return TC_ACT_SHOT;
  return bpf_redirect(skb->ifindex, p->out ? BPF_F_INGRESS : 0);
}

/* What leaves the node for a cluster IP: its own processes' packets, which no socket program has placed. */
static __always_inline int guard(struct __sk_buff* skb, const struct packet* p) {
  if (!in_service_cidr(&p->destination)) return TC_ACT_UNSPEC;
  if (is_echo(skb, p)) return on_echo(skb, p);
  struct skiff_frontend_key key = {.address = p->destination};
  if (!bpf_map_lookup_elem(&frontends, &key)) {
    count(SKIFF_COUNT_PACKET_UNKNOWN);
    return TC_ACT_SHOT;
  }
  if (!p->destination_port) return TC_ACT_UNSPEC;
  key.port = p->destination_port;
  key.protocol = p->protocol;
  struct skiff_frontend* f = bpf_map_lookup_elem(&frontends, &key);
  if (!f || !(f->flags & SKIFF_FRONTEND_INSIDE_DROP)) return TC_ACT_UNSPEC;
  count(SKIFF_COUNT_PACKET_POLICY);
  count_service(f->service, true);
  return TC_ACT_SHOT;
}

#endif
