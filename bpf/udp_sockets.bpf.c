/* Connected UDP sockets whose endpoint is gone, over all network namespaces: the iterator walks the sockets that have
 * an entry in `udp_peers` and writes a struct skiff_stale for each that user space must re-point or close. */
#include "service.bpf.h"

#include <bpf/bpf_core_read.h>

SEC("iter/bpf_sk_storage_map")
int stale_udp(struct bpf_iter__bpf_sk_storage_map* ctx) {
  struct sock* sk = ctx->sk;
  struct skiff_peer* peer = ctx->value;
  if (!sk || !peer || !peer->frontend_port) return 0;
  struct skiff_stale out = {};
  out.peer = *peer;
  struct skiff_backend* b = backend_at(out.peer.backend);
  if (backend_is(b, out.peer.service, &out.peer.backend_address, out.peer.backend_port, SKIFF_BACKEND_SERVING))
    return 0;
  out.cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
  out.family = BPF_CORE_READ(sk, __sk_common.skc_family);
  out.local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
  out.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
  struct socket* socket = BPF_CORE_READ(sk, sk_socket);
  if (socket) {
    struct socket_alloc* alloc = (void*)socket - bpf_core_field_offset(struct socket_alloc, socket);
    out.inode = BPF_CORE_READ(alloc, vfs_inode.i_ino);
  }
  bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
  return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
