#include "bpf/skeletons.h"

#include <bpf/libbpf.h>
#include <fcntl.h>

#include "bpf/objects.h"
#include "packet.skel.h"
#include "socket.skel.h"
#include "udp_sockets.skel.h"

namespace skiff::bpf {

StatusOr<Programs> Programs::Load(ProgramSet set, const std::string& maps_dir) {
  Programs out;
  switch (set) {
    case ProgramSet::kSocket:
      if (skiff_socket* s = skiff_socket__open(); s != nullptr) {
        out.skeleton_ = std::shared_ptr<skiff_socket>(s, skiff_socket__destroy);
        out.object_ = s->obj;
      }
      break;
    case ProgramSet::kUdpSockets:
      if (skiff_udp_sockets* s = skiff_udp_sockets__open(); s != nullptr) {
        out.skeleton_ = std::shared_ptr<skiff_udp_sockets>(s, skiff_udp_sockets__destroy);
        out.object_ = s->obj;
      }
      break;
    case ProgramSet::kPacket:
      if (skiff_packet* s = skiff_packet__open(); s != nullptr) {
        out.skeleton_ = std::shared_ptr<skiff_packet>(s, skiff_packet__destroy);
        out.object_ = s->obj;
      }
      break;
  }
  if (out.object_ == nullptr) return ErrnoStatus(errno, "open kernel programs");
  RETURN_IF_ERROR(bpf::Load(out.object_, maps_dir));
  return out;
}

Status Programs::AttachCgroup(int cgroup_fd, const std::string& links_dir) {
  bpf_program* program;
  bpf_object__for_each_program(program, object_) {
    RETURN_IF_ERROR(bpf::AttachCgroup(program, cgroup_fd, JoinPath(links_dir, bpf_program__name(program))));
  }
  return absl::OkStatus();
}

StatusOr<Fd> Programs::Take(const std::string& program) {
  bpf_program* found = bpf_object__find_program_by_name(object_, program.c_str());
  if (found == nullptr) return NotFound("no kernel program ", program);
  Fd fd(fcntl(bpf_program__fd(found), F_DUPFD_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, program);
  return fd;
}

Status Programs::AttachIterator(const std::string& program, int map_fd, const std::string& pin) {
  bpf_program* found = bpf_object__find_program_by_name(object_, program.c_str());
  if (found == nullptr) return NotFound("no kernel program ", program);
  return bpf::AttachIterator(found, map_fd, pin);
}

}  // namespace skiff::bpf
