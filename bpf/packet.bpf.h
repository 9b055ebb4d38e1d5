/* Packets as the packet programs read them: what they are called, where they are from and for, and how addresses and
 * ports are replaced. */
#ifndef SKIFF_BPF_PACKET_BPF_H_
#define SKIFF_BPF_PACKET_BPF_H_

#include "service.bpf.h"

#include <bpf/bpf_endian.h>

#define ETH_SIZE 14
#define MAX_EXTENSIONS 4

enum fragment { WHOLE = 0, FIRST, LATER };

struct packet {
  struct skiff_address source, destination;
  __u16 source_port, destination_port;
  __u8 protocol;
  __u8 fragment; /* enum fragment */
  bool v6;
  bool out;
  bool syn;  /* opens a TCP or SCTP connection */
  bool more; /* has IPv4 options, or IPv6 extension headers */
  __u32 id;  /* of the datagram that it is a fragment of */
  __u32 l3;  /* offsets */
  __u32 l4;
  __u32 end; /* of the IP packet */
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

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, SKIFF_MAX_FRAGMENTS);
  __type(key, struct skiff_fragment_key);
  __type(value, struct skiff_fragment);
} fragments SEC(".maps");

static __always_inline void mapped_address(struct skiff_address* out, __be32 ip) {
  out->word[0] = 0;
  out->word[1] = 0;
  out->word[2] = bpf_htonl(0xffff);
  out->word[3] = ip;
}

static __always_inline bool parse_ipv4(struct __sk_buff* skb, struct packet* p, __u32 at) {
  struct ipv4 ip;
  if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) < 0) return false;
  __u32 size = (ip.version_ihl & 15) * 4;
  if (ip.version_ihl >> 4 != 4 || size < sizeof(ip)) return false;
  if (ip.fragment & bpf_htons(0x1fff)) {
    p->fragment = LATER;
  } else if (ip.fragment & bpf_htons(0x2000)) {
    p->fragment = FIRST;
  }
  p->id = ip.id;
  p->end = at + bpf_ntohs(ip.length);
  p->protocol = ip.protocol;
  p->l4 = at + size;
  p->more = size > sizeof(ip);
  mapped_address(&p->source, ip.source);
  mapped_address(&p->destination, ip.destination);
  return true;
}

static __always_inline bool parse_ipv6(struct __sk_buff* skb, struct packet* p, __u32 at) {
  struct ipv6 ip;
  if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) < 0) return false;
  p->v6 = true;
  p->end = at + sizeof(ip) + bpf_ntohs(ip.length);
  p->source = ip.source;
  p->destination = ip.destination;
  __u8 next = ip.next;
  at += sizeof(ip);
#pragma unroll
  for (int i = 0; i < MAX_EXTENSIONS; i++) {
    if (next == IPPROTO_FRAGMENT) {
      struct {
        __u8 next, reserved;
        __be16 offset;
        __u32 id;
      } header;
      if (bpf_skb_load_bytes(skb, at, &header, sizeof(header)) < 0) return false;
      next = header.next;
      at += sizeof(header);
      p->id = header.id;
      if (header.offset & bpf_htons(0xfff8)) {
        p->fragment = LATER;
        break; /* what follows is the middle of something */
      }
      /* Offset 0 and nothing to follow: a whole datagram with a header too many. */
      if (header.offset & bpf_htons(1)) p->fragment = FIRST;
    } else if (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS) {
      __u8 header[2]; /* next, and the size in units of 8 beyond the first 8 */
      if (bpf_skb_load_bytes(skb, at, header, sizeof(header)) < 0) return false;
      next = header[0];
      at += (header[1] + 1u) * 8;
    } else {
      break;
    }
    p->more = true;
  }
  p->protocol = next;
  p->l4 = at;
  return true;
}

/* The IP header at `at`. */
static __always_inline bool parse_ip(struct __sk_buff* skb, struct packet* p, __u32 at, bool out) {
  __builtin_memset(p, 0, sizeof(*p));
  p->l3 = at;
  p->out = out;
  if (skb->protocol == bpf_htons(ETH_P_IP)) return parse_ipv4(skb, p, at);
  if (skb->protocol == bpf_htons(ETH_P_IPV6)) return parse_ipv6(skb, p, at);
  return false;
}

/* The shortest look at a packet. */
struct glance {
  __be32 source, destination; /* the last words of the addresses */
  bool goes_on;               /* TCP that does not open a connection; whole, without options or extension headers */
};

/* False, or not seen to go on, is no error: the packet takes the long way. */
static __always_inline bool glance_at(struct __sk_buff* skb, struct glance* out) {
  const __u8 syn = 0x02, syn_ack = 0x12;
  void *at = (void*)(long)skb->data + ETH_SIZE, *end = (void*)(long)skb->data_end;
  __u8* tcp;
  if (skb->protocol == bpf_htons(ETH_P_IP)) {
    struct ipv4* ip = at;
    tcp = (void*)(ip + 1);
    if ((void*)tcp > end) return false;
    out->source = ip->source;
    out->destination = ip->destination;
    out->goes_on = ip->version_ihl == 0x45 && ip->protocol == IPPROTO_TCP && !(ip->fragment & bpf_htons(0x3fff));
  } else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
    struct ipv6* ip = at;
    tcp = (void*)(ip + 1);
    if ((void*)tcp > end) return false;
    out->source = ip->source.word[3];
    out->destination = ip->destination.word[3];
    out->goes_on = ip->next == IPPROTO_TCP;
  } else {
    return false;
  }
  if (out->goes_on) out->goes_on = (void*)(tcp + 14) <= end && (tcp[13] & syn_ack) != syn;
  return true;
}

static __always_inline void fragment_key(struct skiff_fragment_key* key, const struct packet* p) {
  key->source = p->source;
  key->destination = p->destination;
  key->id = p->id;
  key->protocol = p->protocol;
  key->out = p->out;
  key->reserved = 0;
}

static __always_inline bool parse_ports(struct __sk_buff* skb, struct packet* p) {
  if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP && p->protocol != IPPROTO_SCTP) return false;
  /* SCTP's checksum is over all of a packet: a part of one cannot be changed. Its stacks avoid fragments. */
  if (p->protocol == IPPROTO_SCTP && p->fragment != WHOLE) return false;
  if (p->fragment == LATER) {
    struct skiff_fragment_key key;
    fragment_key(&key, p);
    struct skiff_fragment* ports = bpf_map_lookup_elem(&fragments, &key);
    if (!ports) return false;
    p->source_port = ports->source_port;
    p->destination_port = ports->destination_port;
    return true;
  }
  __u16 ports[2];
  if (bpf_skb_load_bytes(skb, p->l4, ports, sizeof(ports)) < 0) return false;
  p->source_port = ports[0];
  p->destination_port = ports[1];
  return true;
}

/* Destination unreachable, packet too big, time exceeded, parameter problem: what quotes a packet. */
static __always_inline bool is_icmp_error(struct __sk_buff* skb, const struct packet* p) {
  if (p->protocol != (p->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) || p->fragment == LATER) return false;
  __u8 type;
  if (bpf_skb_load_bytes(skb, p->l4, &type, 1) < 0) return false;
  return p->v6 ? type >= 1 && type <= 4 : type == 3 || type == 11 || type == 12;
}

/* Whether the packet opens a connection by itself: SYN without ACK, or INIT. */
static __always_inline bool opens_connection(struct __sk_buff* skb, const struct packet* p) {
  if (p->fragment == LATER || p->protocol == IPPROTO_UDP) return false;
  __u8 byte; /* TCP's flags, or the type of SCTP's first chunk */
  bool sctp = p->protocol == IPPROTO_SCTP;
  if (bpf_skb_load_bytes(skb, p->l4 + (sctp ? 12 : 13), &byte, 1) < 0) return false;
  return sctp ? byte == 1 : (byte & 0x12) == 0x02;
}

/* `value` where `bit` is 1, or 0. A product, hidden from the compiler: of anything else it, or the verifier, makes two
 * ways, and then 2^32 of them. */
static __always_inline __u32 if_bit(__u32 bit, __u32 value) {
  asm volatile("" : "+r"(bit));
  return bit * value;
}

/* Multiplies in GF(2^32) modulo CRC32c's polynomial, bits reversed as the checksum has them. */
static __always_inline __u32 crc_multiply(__u32 a, __u32 b) {
  __u32 product = 0;
  for (int i = 0; i < 32; i++) {
    product ^= if_bit(b >> 31, a);
    b <<= 1;
    a = (a >> 1) ^ if_bit(a & 1, 0x82f63b78u);
  }
  return product;
}

/* x^8, and each the square of the one before: what 1, 2, 4, .. bytes behind it make of a CRC. */
static const __u32 x_to_8_times_power_of_2[16] = {
    0x00800000u, 0x00008000u, 0x82f63b78u, 0x6ea2d55cu, 0x18b8ea18u, 0x510ac59au, 0xb82be955u, 0xb8fdb1e7u,
    0x88e56f72u, 0x74c360a4u, 0xe4172b16u, 0x0d65762au, 0x35d73a62u, 0x28461564u, 0xbf455269u, 0xe2ea32dcu};

/* SCTP's checksum when `change` is xored into two bytes with `behind` bytes behind them: a CRC is linear, so the change
 * has a CRC of its own, moved to its place. Where a device will fill the checksum in, this changes nothing that stays.
 */
GLOBAL __u32 sctp_checksum(__u32 checksum, __u32 change, __u32 behind) {
  __u32 crc = change & 0xffff;
  for (int i = 0; i < 16; i++) crc = (crc >> 1) ^ if_bit(crc & 1, 0x82f63b78u);
  for (int i = 0; i < 16; i++) crc ^= if_bit(behind >> i & 1, crc ^ crc_multiply(crc, x_to_8_times_power_of_2[i]));
  return checksum ^ crc;
}

static __always_inline bool rewrite_sctp_port(struct __sk_buff* skb, const struct packet* p, bool source, __u16 port) {
  __u32 at = p->l4 + (source ? 0 : 2), checksum = 0;
  __u32 behind = p->end - at - 2;
  if (behind > 0xffff || bpf_skb_load_bytes(skb, p->l4 + 8, &checksum, sizeof(checksum)) < 0) return false;
  checksum = sctp_checksum(checksum, (source ? p->source_port : p->destination_port) ^ port, behind);
  if (bpf_skb_store_bytes(skb, p->l4 + 8, &checksum, sizeof(checksum), BPF_F_RECOMPUTE_CSUM) < 0) return false;
  return bpf_skb_store_bytes(skb, at, &port, sizeof(port), BPF_F_RECOMPUTE_CSUM) >= 0;
}

/* Checksums, and the packet's own idea of them where a device fills them in, follow incrementally. Of a fragment that
 * is not the first only the addresses are there to be replaced: the checksum of the whole is in the first. */
GLOBAL int rewrite(struct __sk_buff* skb, const struct packet* p, bool source, struct skiff_address* address,
                   __u16 port) {
  if (!p || !address) return false;
  struct skiff_address old = source ? p->source : p->destination;
  __u16 old_port = source ? p->source_port : p->destination_port;
  bool udp = p->protocol == IPPROTO_UDP, sctp = p->protocol == IPPROTO_SCTP;
  bool later = p->fragment == LATER || sctp; /* has no checksum over addresses */
  __u32 check = p->l4 + (udp ? 6 : 16);
  __u64 mangled = udp ? BPF_F_MARK_MANGLED_0 : 0; /* UDP over IPv4 may go without checksum */
  if (p->fragment == FIRST) {
    struct skiff_fragment_key key;
    fragment_key(&key, p);
    struct skiff_fragment ports = {.source_port = p->source_port, .destination_port = p->destination_port};
    bpf_map_update_elem(&fragments, &key, &ports, BPF_ANY);
  }
  if (p->v6) {
    __s64 diff = bpf_csum_diff((__be32*)&old, sizeof(old), (__be32*)address, sizeof(*address), 0);
    if (diff < 0) return false;
    if (!later && bpf_l4_csum_replace(skb, check, 0, diff, BPF_F_PSEUDO_HDR | mangled) < 0) return false;
    /* A checksum of the whole packet, as some devices give it, sees addresses and L4 checksum cancel out; without the
     * latter it has to be told. */
    __u64 flags = later ? BPF_F_RECOMPUTE_CSUM : 0;
    if (bpf_skb_store_bytes(skb, p->l3 + (source ? 8 : 24), address, sizeof(*address), flags) < 0) return false;
  } else {
    if (!later && bpf_l4_csum_replace(skb, check, old.word[3], address->word[3], BPF_F_PSEUDO_HDR | mangled | 4) < 0) {
      return false;
    }
    if (bpf_l3_csum_replace(skb, p->l3 + 10, old.word[3], address->word[3], 4) < 0) return false;
    if (bpf_skb_store_bytes(skb, p->l3 + (source ? 12 : 16), &address->word[3], 4, 0) < 0) return false;
  }
  if (sctp) return old_port == port || rewrite_sctp_port(skb, p, source, port);
  if (old_port == port || later) return true;
  if (bpf_l4_csum_replace(skb, check, old_port, port, mangled | 2) < 0) return false;
  return bpf_skb_store_bytes(skb, p->l4 + (source ? 0 : 2), &port, 2, 0) >= 0;
}

#endif
