/* The kernel types that our programs read, and nothing more. Structures marked `preserve_access_index` are relocated
 * against the running kernel's BTF (CO-RE), so only the names of the fields that are read must agree. The context
 * structures are kernel ABI and are spelled out whole. */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s64 s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef __u16 __sum16;
typedef _Bool bool;

enum { false = 0, true = 1 };

enum bpf_map_type {
  BPF_MAP_TYPE_HASH = 1,
  BPF_MAP_TYPE_ARRAY = 2,
  BPF_MAP_TYPE_PERCPU_ARRAY = 6,
  BPF_MAP_TYPE_LRU_HASH = 9,
  BPF_MAP_TYPE_LPM_TRIE = 11,
  BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
  BPF_MAP_TYPE_SK_STORAGE = 24,
};

enum {
  BPF_ANY = 0,
  BPF_NOEXIST = 1,
  BPF_F_NO_PREALLOC = 1,
  BPF_F_RECOMPUTE_CSUM = 1,
  BPF_F_INGRESS = 1,
  BPF_F_ADJ_ROOM_FIXED_GSO = 1,
  BPF_F_PSEUDO_HDR = 1 << 4,
  BPF_F_MARK_MANGLED_0 = 1 << 5,
  BPF_SK_STORAGE_GET_F_CREATE = 1,
};

enum bpf_adj_room_mode { BPF_ADJ_ROOM_NET = 0 };

enum {
  IPPROTO_HOPOPTS = 0,
  IPPROTO_ICMP = 1,
  IPPROTO_TCP = 6,
  IPPROTO_UDP = 17,
  IPPROTO_ROUTING = 43,
  IPPROTO_FRAGMENT = 44,
  IPPROTO_ICMPV6 = 58,
  IPPROTO_DSTOPTS = 60,
  IPPROTO_SCTP = 132
};
enum { AF_INET = 2, AF_INET6 = 10 };
enum { ECONNREFUSED = 111 };
enum { TC_ACT_UNSPEC = -1, TC_ACT_OK = 0, TC_ACT_SHOT = 2 };
enum { ETH_P_IP = 0x0800, ETH_P_IPV6 = 0x86dd };

struct bpf_spin_lock {
  __u32 val;
};

struct bpf_sock {
  __u32 bound_dev_if;
  __u32 family;
  __u32 type;
  __u32 protocol;
  __u32 mark;
  __u32 priority;
  __u32 src_ip4;
  __u32 src_ip6[4];
  __u32 src_port;
  /* .. */
};

struct bpf_sock_addr {
  __u32 user_family;
  __u32 user_ip4;
  __u32 user_ip6[4];
  __u32 user_port;
  __u32 family;
  __u32 type;
  __u32 protocol;
  __u32 msg_src_ip4;
  __u32 msg_src_ip6[4];
  union {
    struct bpf_sock* sk;
    __u64 : 64;
  } __attribute__((aligned(8)));
};

struct __sk_buff {
  __u32 len;
  __u32 pkt_type;
  __u32 mark;
  __u32 queue_mapping;
  __u32 protocol;
  __u32 vlan_present;
  __u32 vlan_tci;
  __u32 vlan_proto;
  __u32 priority;
  __u32 ingress_ifindex;
  __u32 ifindex;
  __u32 tc_index;
  __u32 cb[5];
  __u32 hash;
  __u32 tc_classid;
  __u32 data;
  __u32 data_end;
  /* .. */
};

struct xdp_md {
  __u32 data;
  __u32 data_end;
  __u32 data_meta;
  __u32 ingress_ifindex;
  __u32 rx_queue_index;
  __u32 egress_ifindex;
};

enum { XDP_DROP = 1, XDP_PASS = 2, XDP_TX = 3 };

enum { BPF_FIB_LKUP_RET_SUCCESS = 0 };

struct bpf_fib_lookup {
  __u8 family;
  __u8 l4_protocol;
  __be16 sport;
  __be16 dport;
  __u16 tot_len; /* then: the MTU */
  __u32 ifindex;
  __be32 flowinfo; /* then: a metric */
  union {
    __be32 ipv4_src;
    __u32 ipv6_src[4];
  };
  union {
    __be32 ipv4_dst;
    __u32 ipv6_dst[4];
  };
  __u32 vlan;
  __u8 smac[6];
  __u8 dmac[6];
};

#ifndef SKIFF_NO_KERNEL_TYPES
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
  s64 counter;
} atomic64_t;

struct ns_common {
  unsigned int inum;
};

struct net {
  struct ns_common ns;
};

typedef struct {
  struct net* net;
} possible_net_t;

struct sock_common {
  unsigned short skc_family;
  __u16 skc_num;
  possible_net_t skc_net;
  atomic64_t skc_cookie;
};

struct socket;

struct sock {
  struct sock_common __sk_common;
  struct socket* sk_socket;
};

struct inode {
  unsigned long i_ino;
};

struct socket {
  int type;
};

struct socket_alloc {
  struct socket socket;
  struct inode vfs_inode;
};

struct seq_file;
struct bpf_map;

struct bpf_iter_meta {
  struct seq_file* seq;
  u64 session_id;
  u64 seq_num;
};

struct bpf_iter__bpf_sk_storage_map {
  struct bpf_iter_meta* meta;
  struct bpf_map* map;
  struct sock* sk;
  void* value;
};

#pragma clang attribute pop
#endif

#endif
