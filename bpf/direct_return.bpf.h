/* Direct server return: the node that a client's packet came to hands it on as it is, to the endpoint's node, and tells
 * that node which service it was for. That node answers the client itself, in the service's name, so answers take the
 * short way and the endpoint sees the client's address.
 *
 * The message travels in the packet: an IPv4 option or an IPv6 destination option of the numbers that RFC 4727 sets
 * aside for experiments. Hosts and routers that do not know them pass over them (the highest bits of the IPv6 number
 * ask for that), so the endpoint gets the packet with the option still in it. Only what opens a connection carries it,
 * and of UDP a datagram a second. Tunnels were the alternative: they need a device on every node, and room in every
 * packet.
 *
 * What a node is told it believes only where that service exists, as anybody may send options. */
#ifndef SKIFF_BPF_DIRECT_RETURN_BPF_H_
#define SKIFF_BPF_DIRECT_RETURN_BPF_H_

#include "flows.bpf.h"

#define OPTION4 0x9e /* copied into fragments, control, number 30 */
#define OPTION6 0x1e /* to be skipped where unknown, does not change on the way */

struct option4 {
  __u8 type, size;
  __be16 port;
  __be32 address;
};

struct option6 {
  __u8 next, length; /* of the extension header */
  __u8 type, size;
  struct skiff_address address;
  __be16 port;
  __u8 pad[2]; /* PadN of 2 */
};

static __always_inline bool settings_have(__u32 flag) {
  __u32 zero = 0;
  struct skiff_settings* s = bpf_map_lookup_elem(&settings, &zero);
  return s && (s->flags & flag);
}

/* Puts the option in, behind the base header. A packet that has no room for it, or options of its own, goes without:
 * the endpoint's node then knows the connection from its first packet, or does not. */
GLOBAL int add_service(struct __sk_buff* skb, const struct packet* p) {
  if (!p) return 0;
  if (p->more || p->fragment != WHOLE) return 0;
  if (p->v6) {
    struct ipv6 ip;
    if (bpf_skb_load_bytes(skb, p->l3, &ip, sizeof(ip)) < 0) return 0;
    struct option6 option = {.next = ip.next,
                             .length = sizeof(option) / 8 - 1,
                             .type = OPTION6,
                             .size = sizeof(option.address) + sizeof(option.port),
                             .address = p->destination,
                             .port = p->destination_port,
                             .pad = {1, 0}};
    if (bpf_skb_adjust_room(skb, sizeof(option), BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO) < 0) return 0;
    __be16 length = bpf_htons(bpf_ntohs(ip.length) + sizeof(option));
    __u8 next = IPPROTO_DSTOPTS;
    bpf_skb_store_bytes(skb, p->l3 + sizeof(ip), &option, sizeof(option), BPF_F_RECOMPUTE_CSUM);
    bpf_skb_store_bytes(skb, p->l3 + 4, &length, sizeof(length), BPF_F_RECOMPUTE_CSUM);
    bpf_skb_store_bytes(skb, p->l3 + 6, &next, sizeof(next), BPF_F_RECOMPUTE_CSUM);
    return 0;
  }
  struct ipv4 ip;
  if (bpf_skb_load_bytes(skb, p->l3, &ip, sizeof(ip)) < 0) return 0;
  struct option4 option = {
      .type = OPTION4, .size = sizeof(option), .port = p->destination_port, .address = p->destination.word[3]};
  if (bpf_skb_adjust_room(skb, sizeof(option), BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO) < 0) return 0;
  struct {
    __u8 version_ihl, tos;
    __be16 length;
  } before = {.version_ihl = ip.version_ihl, .tos = ip.tos, .length = ip.length}, after = before;
  after.version_ihl += sizeof(option) / 4;
  after.length = bpf_htons(bpf_ntohs(ip.length) + sizeof(option));
  __s64 diff = bpf_csum_diff((__be32*)&before, sizeof(before), (__be32*)&after, sizeof(after), 0);
  diff = bpf_csum_diff(0, 0, (__be32*)&option, sizeof(option), diff);
  /* The header as a whole sums to what it did. */
  bpf_skb_store_bytes(skb, p->l3 + sizeof(ip), &option, sizeof(option), 0);
  bpf_skb_store_bytes(skb, p->l3, &after, sizeof(after), 0);
  bpf_l3_csum_replace(skb, p->l3 + 10, 0, diff, 0);
  return 0;
}

/* Whether the packet was handed over by another node; its endpoint's answers are the service's from now on. */
GLOBAL int learn_service(struct __sk_buff* skb, const struct packet* p, __u64 now) {
  if (!p) return false;
  struct skiff_frontend_key key = {.protocol = p->protocol};
  if (p->v6) {
    struct option6 option;
    if (bpf_skb_load_bytes(skb, p->l3 + sizeof(struct ipv6), &option, sizeof(option)) < 0) return false;
    if (option.type != OPTION6 || option.size != sizeof(option.address) + sizeof(option.port)) return false;
    key.address = option.address;
    key.port = option.port;
  } else {
    struct option4 option;
    if (bpf_skb_load_bytes(skb, p->l3 + sizeof(struct ipv4), &option, sizeof(option)) < 0) return false;
    if (option.type != OPTION4 || option.size != sizeof(option)) return false;
    mapped_address(&key.address, option.address);
    key.port = option.port;
  }
  struct skiff_flow service = {.used = now, .address = key.address, .port = key.port};
  if (!bpf_map_lookup_elem(&frontends, &key)) {
    /* Another node's address is not known here; its NodePorts are ours too. */
    key.address = (struct skiff_address){};
    key.scope = p->v6 ? SKIFF_SCOPE_NODE_PORT6 : SKIFF_SCOPE_NODE_PORT4;
    if (!bpf_map_lookup_elem(&frontends, &key)) return false;
  }
  struct skiff_flow_key back;
  reverse_key_of(&back, p, SKIFF_FLOW_FROM_SERVICE);
  if (!bpf_map_lookup_elem(&flows, &back)) count(SKIFF_COUNT_PACKET_DIRECT);
  bpf_map_update_elem(&flows, &back, &service, BPF_ANY);
  return true;
}

#endif
