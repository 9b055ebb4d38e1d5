// The layout of every map that the kernel programs and user space share, included by both sides. Addresses are 16
// bytes in network order, IPv4 as ::ffff:a.b.c.d, so that one set of maps and one piece of code serve IPv4, IPv6 and
// IPv4-mapped sockets. Ports are in network order.
//
// How a destination is found:
//   frontends[address, port, protocol]    -> which service port, and where its endpoints stand in `slots`
//   slots[first .. first + count)         -> ids of backends; a changed set is written to new slots, then the frontend
//                                            is switched to them in one atomic update
//   backends[id]                          -> address and port; state 0 once the endpoint is gone, which is how pinned
//                                            flows notice
// `slots` and `backends` are arrays of fixed-size chunks, so that an idle node pays for one chunk and not for the
// maximum. Any change of what follows raises SKIFF_LAYOUT_VERSION: maps of another version are not reused.
#ifndef SKIFF_BPF_LAYOUT_H_
#define SKIFF_BPF_LAYOUT_H_

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif
#ifdef __cplusplus
#include <cstddef>
#define SKIFF_LAYOUT(type, size) static_assert(sizeof(struct type) == (size) && alignof(struct type) <= 8)
#define SKIFF_OFFSET(type, field, at) static_assert(offsetof(struct type, field) == (at))
#else
#define SKIFF_LAYOUT(type, size) _Static_assert(sizeof(struct type) == (size), #type)
#define SKIFF_OFFSET(type, field, at) _Static_assert(__builtin_offsetof(struct type, field) == (at), #type "." #field)
#endif

#define SKIFF_LAYOUT_VERSION 4

#define SKIFF_CHUNK_BITS 12
#define SKIFF_CHUNK_SIZE (1 << SKIFF_CHUNK_BITS)  // elements of one chunk of `slots` and of `backends`
#define SKIFF_MAX_SLOT_CHUNKS 1024                // 4,194,304 slots
#define SKIFF_MAX_BACKEND_CHUNKS 512              // 2,097,152 backends
#define SKIFF_MAX_COUNT_CHUNKS 64                 // 262,144 service ports
#define SKIFF_MAX_FRONTENDS 131072
#define SKIFF_MAX_AFFINITY 16384
#define SKIFF_MAX_FLOWS 65536  // entries of the connection table: two or four a connection
#define SKIFF_MAX_SOURCE_RANGES 65536
#define SKIFF_MAX_FRAGMENTS 8192  // datagrams whose fragments are on their way
#define SKIFF_MAX_DEVICES 1024
#define SKIFF_POD_SLOTS 1024  // when pods' addresses last had connections by packets
#define SKIFF_MAX_SERVICE_CIDRS 8
#define SKIFF_UDP_FLOWS 16  // services that one unconnected UDP socket can talk to at the same time

enum skiff_scope {
  SKIFF_SCOPE_ADDRESS = 0,     // the address in the key
  SKIFF_SCOPE_NODE_PORT4 = 1,  // any IPv4 node address; the key's address is zero
  SKIFF_SCOPE_NODE_PORT6 = 2,
};

enum skiff_frontend_flags {
  SKIFF_FRONTEND_REFUSE = 1 << 0,        // an address entry (port 0): its other ports refuse
  SKIFF_FRONTEND_NODE_ADDRESS = 1 << 1,  // an address entry: NodePorts are looked up for it
  SKIFF_FRONTEND_HOST_ONLY = 1 << 2,     // holds for sockets in the node's network namespace only (loopback)
  SKIFF_FRONTEND_PASS = 1 << 3,          // not for sockets: leave the connection to the packets
  SKIFF_FRONTEND_INSIDE_LOCAL = 1 << 4,  // `inside` are the endpoints of this node, not the cluster's
  SKIFF_FRONTEND_OUTSIDE_LOCAL = 1 << 5,
  SKIFF_FRONTEND_RANGES = 1 << 6,  // packets must come from one of the service's source ranges
  SKIFF_FRONTEND_MAGLEV = 1 << 7,  // the slots are a Maglev table: packets are placed by a hash of where they come from
};
// The set is empty by policy (Local): packets are dropped, not refused.
#define SKIFF_FRONTEND_OUTSIDE_DROP (1u << 8)
#define SKIFF_FRONTEND_INSIDE_DROP (1u << 9)

enum skiff_backend_state {
  SKIFF_BACKEND_CLUSTER = 1 << 0,  // takes new connections under the traffic policy Cluster
  SKIFF_BACKEND_LOCAL = 1 << 1,    // takes new connections under the traffic policy Local
  SKIFF_BACKEND_SERVING = 1 << 2,  // keeps the flows that it has
  SKIFF_BACKEND_HERE = 1 << 3,     // on this node: its answers pass here anyway
};

struct skiff_address {
  __u32 word[4];
};

struct skiff_frontend_key {
  struct skiff_address address;
  __u16 port;     // 0: an address entry
  __u8 protocol;  // IPPROTO_*, 0 in an address entry
  __u8 scope;     // enum skiff_scope
};
SKIFF_LAYOUT(skiff_frontend_key, 20);
SKIFF_OFFSET(skiff_frontend_key, port, 16);
SKIFF_OFFSET(skiff_frontend_key, protocol, 18);

struct skiff_range {
  __u32 first;
  __u32 count;
};

struct skiff_frontend {
  __u32 service;               // id of the service port, stable across restarts; several frontends share it
  __u32 flags;                 // enum skiff_frontend_flags
  struct skiff_range inside;   // endpoints for clients on nodes and in pods
  struct skiff_range outside;  // endpoints for packets that enter the cluster here
  __u32 affinity_seconds;      // ClientIP affinity; 0: none
  __u32 reserved;
};
SKIFF_LAYOUT(skiff_frontend, 32);
SKIFF_OFFSET(skiff_frontend, inside, 8);
SKIFF_OFFSET(skiff_frontend, affinity_seconds, 24);

struct skiff_slot {
  __u32 backend;
  __u32 service;  // whose slot it is: a reader that was overtaken by two updates notices
};
SKIFF_LAYOUT(skiff_slot, 8);

struct skiff_backend {
  struct skiff_address address;
  __u16 port;
  __u8 protocol;
  __u8 state;  // enum skiff_backend_state
  __u32 service;
};
SKIFF_LAYOUT(skiff_backend, 24);
SKIFF_OFFSET(skiff_backend, service, 20);

// What a service port did, by its id. Not per CPU: one addition a connection is cheap, a copy for each CPU is not.
struct skiff_service_counts {
  __u64 connections;  // connections and first datagrams that got an endpoint
  __u64 refused;      // and those that got none
};
SKIFF_LAYOUT(skiff_service_counts, 16);

// loadBalancerSourceRanges, for the longest prefix match.
struct skiff_source_range {
  __u32 prefix;   // bits: 32 of the service and those of the address (IPv4 /24: 32 + 96 + 24)
  __u32 service;  // network order or not does not matter: all its bits always count
  struct skiff_address source;
};
SKIFF_LAYOUT(skiff_source_range, 24);

struct skiff_affinity_key {
  __u32 service;
  __u32 kind;  // 0: client is an address; 1: word[0..1] is a network namespace's cookie
  __u32 client[4];
};
SKIFF_LAYOUT(skiff_affinity_key, 24);

struct skiff_affinity {
  __u64 used;  // CLOCK_MONOTONIC nanoseconds of the last new connection
  __u32 backend;
  __u32 reserved;
};
SKIFF_LAYOUT(skiff_affinity, 16);

// What a connected socket believes it is connected to, beside where it really is.
struct skiff_peer {
  struct skiff_address frontend_address;
  struct skiff_address backend_address;
  __u16 frontend_port;
  __u16 backend_port;
  __u32 backend;
  __u32 service;
  __u32 reserved;
};
SKIFF_LAYOUT(skiff_peer, 48);

// The connection table of the packet path. A packet is looked up by what it looks like when it passes:
//   coming in   client -> service             to the endpoint                SKIFF_FLOW_TO_BACKEND
//   going out   client -> remote endpoint     from the node's own address    SKIFF_FLOW_MASQUERADE
//   coming in   remote endpoint -> node       to the client                  SKIFF_FLOW_TO_CLIENT
//   going out   endpoint -> client            from the service's address     SKIFF_FLOW_FROM_SERVICE
// "In" and "out" are the node's sides of a device: what a pod sends comes in by its device, what it gets goes out
// there. Destinations change on the way in and sources on the way out, so that the kernel's own routing, reverse path
// filter, TTL and MTU handling see addresses that they can live with.
enum skiff_flow_kind {
  SKIFF_FLOW_TO_BACKEND = 1,
  SKIFF_FLOW_MASQUERADE = 2,
  SKIFF_FLOW_TO_CLIENT = 3,
  SKIFF_FLOW_FROM_SERVICE = 4,
};

struct skiff_flow_key {
  struct skiff_address source;
  struct skiff_address destination;
  __u16 source_port;
  __u16 destination_port;
  __u8 protocol;
  __u8 kind;  // enum skiff_flow_kind: coming in and going out do not mix
  __u16 reserved;
};
SKIFF_LAYOUT(skiff_flow_key, 40);

enum skiff_flow_flags {
  SKIFF_FLOW_DIRECT_RETURN = 1 << 0,  // SKIFF_FLOW_TO_BACKEND: the endpoint's node answers the client itself
  SKIFF_FLOW_MASQUERADED = 1 << 1,    // the same: there is a SKIFF_FLOW_MASQUERADE entry too
};

struct skiff_flow {
  __u64 used;                    // CLOCK_MONOTONIC nanoseconds, about a second coarse
  struct skiff_address address;  // the new destination or source
  __u32 backend;
  __u32 service;
  __u16 port;   // 0 in SKIFF_FLOW_MASQUERADE: not chosen yet
  __u16 flags;  // enum skiff_flow_flags
  __u16 reserved[2];
};
SKIFF_LAYOUT(skiff_flow, 40);

// Only the first fragment of a datagram has ports; the others find them here.
struct skiff_fragment_key {
  struct skiff_address source;
  struct skiff_address destination;
  __u32 id;
  __u8 protocol;
  __u8 out;  // 1: seen going out, where addresses may differ from those that came in
  __u16 reserved;
};
SKIFF_LAYOUT(skiff_fragment_key, 40);

struct skiff_fragment {
  __u16 source_port;
  __u16 destination_port;
};
SKIFF_LAYOUT(skiff_fragment, 4);

enum skiff_device_flags {
  SKIFF_DEVICE_LOCAL = 1 << 0,  // whatever comes in is a local pod's (detectLocalMode by device)
  SKIFF_DEVICE_XDP = 1 << 1,    // takes packets from XDP programs
};

// Of a network device with a packet program: the addresses that masquerading takes. Zero: none.
struct skiff_device {
  struct skiff_address v4;
  struct skiff_address v6;
  __u32 flags;  // enum skiff_device_flags
  __u32 reserved;
};
SKIFF_LAYOUT(skiff_device, 40);

enum skiff_settings_flags {
  SKIFF_SETTING_MASQUERADE_ALL = 1 << 0,
  SKIFF_SETTING_DIRECT_RETURN = 1 << 1,
  SKIFF_SETTING_LOCAL_BY_CIDR = 1 << 2,  // local_* say which sources are pods (detectLocalMode by CIDR)
  SKIFF_SETTING_LOCAL_BY_DEVICE = 1 << 3,
  SKIFF_SETTING_PACKETS =
      1 << 4,  // packet programs are at the devices: sockets may leave what is to be dropped to them
};

struct skiff_prefix {
  struct skiff_address base, mask;
};
SKIFF_LAYOUT(skiff_prefix, 32);

struct skiff_settings {
  __u64 host_netns_cookie;
  __u32 flags;                   // enum skiff_settings_flags
  __u32 service_cidrs;           // how many of service_cidr are set
  struct skiff_address node_v4;  // the node's own, as the source of its processes; zero: unknown
  struct skiff_address node_v6;
  struct skiff_address local_base4, local_mask4;  // a zero mask: no such range
  struct skiff_address local_base6, local_mask6;
  struct skiff_prefix service_cidr[SKIFF_MAX_SERVICE_CIDRS];  // where cluster IPs come from (ServiceCIDR objects)
};
SKIFF_LAYOUT(skiff_settings, 368);
SKIFF_OFFSET(skiff_settings, local_base4, 48);

enum skiff_counter {
  SKIFF_COUNT_CONNECT = 0,      // connections and first datagrams that got an endpoint
  SKIFF_COUNT_NO_ENDPOINT,      // refused: the service has no endpoint
  SKIFF_COUNT_UNUSED_PORT,      // refused: the address is a service's, the port is not
  SKIFF_COUNT_RETRY,            // an update overtook the look-up; looked up again
  SKIFF_COUNT_GAVE_UP,          // refused after too many of these: should stay 0
  SKIFF_COUNT_REBIND,           // UDP flows moved off a dead endpoint
  SKIFF_COUNT_FLOW_EVICTED,     // UDP sockets with more than SKIFF_UDP_FLOWS services
  SKIFF_COUNT_PACKET_FLOW,      // connections of the packet path
  SKIFF_COUNT_PACKET_REFUSED,   // refused: the service has no endpoint
  SKIFF_COUNT_PACKET_NO_PORT,   // dropped: no free port to masquerade with
  SKIFF_COUNT_PACKET_RANGE,     // dropped: not from one of the source ranges
  SKIFF_COUNT_PACKET_POD,       // connections of the packet path that pods opened
  SKIFF_COUNT_PACKET_FRAGMENT,  // fragments that came before, or without, the first one of their datagram
  SKIFF_COUNT_PACKET_DIRECT,    // connections that another node handed over, to be answered from here
  SKIFF_COUNT_PACKET_XDP,       // packets that XDP forwarded
  SKIFF_COUNT_PACKET_POLICY,    // dropped: the policy is Local, and no endpoint is here
  SKIFF_COUNT_PACKET_UNKNOWN,   // dropped: to a cluster IP that no service has
  SKIFF_COUNT_PACKET_ECHO,      // refused: ICMP echo to a cluster IP
  SKIFF_COUNTERS,
};

// One stale connected UDP socket, as the iterator over `udp_peers` reports it.
struct skiff_stale {
  __u64 cookie;
  __u64 inode;  // of the socket in sockfs, as in /proc/PID/fd
  struct skiff_peer peer;
  __u32 netns;  // inode of its network namespace
  __u16 family;
  __u16 local_port;
};
SKIFF_LAYOUT(skiff_stale, 72);

#endif  // SKIFF_BPF_LAYOUT_H_
