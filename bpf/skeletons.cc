#include "bpf/skeletons.h"

#include <bpf/libbpf.h>
#include <fcntl.h>

#include <cstdio>
#include <cstring>
#include <map>

#include "bpf/objects.h"
#include "packet.skel.h"
#include "socket.skel.h"
#include "udp_sockets.skel.h"
#include "xdp.skel.h"

namespace skiff::bpf {

StatusOr<Programs> Programs::Open(ProgramSet set) {
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
    case ProgramSet::kXdp:
      if (skiff_xdp* s = skiff_xdp__open(); s != nullptr) {
        out.skeleton_ = std::shared_ptr<skiff_xdp>(s, skiff_xdp__destroy);
        out.object_ = s->obj;
      }
      break;
  }
  if (out.object_ == nullptr) return ErrnoStatus(errno, "open kernel programs");
  return out;
}

StatusOr<Programs> Programs::Load(ProgramSet set, const std::string& maps_dir) {
  ASSIGN_OR_RETURN(Programs out, Open(set));
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

StatusOr<std::vector<VerifierStats>> Verify(ProgramSet set) {
  constexpr uint32_t kLogStats = 4;  // BPF_LOG_STATS: only the last lines, with the numbers
  constexpr size_t kLogSize = 4096;
  ASSIGN_OR_RETURN(Programs programs, Programs::Open(set));
  std::map<std::string, std::vector<char>> logs;
  bpf_program* program;
  bpf_object__for_each_program(program, programs.object_) {
    std::vector<char>& log = logs[bpf_program__name(program)];
    log.resize(kLogSize);
    bpf_program__set_log_level(program, kLogStats);
    bpf_program__set_log_buf(program, log.data(), log.size());
  }
  if (Status status = bpf::Load(programs.object_, ""); !status.ok()) {
    // Once more without buffers of ours, for the verifier's whole log.
    Status whole = Programs::Load(set, "").status();
    return whole.ok() ? status : whole;
  }
  std::vector<VerifierStats> out;
  bpf_object__for_each_program(program, programs.object_) {
    VerifierStats stats{.program = bpf_program__name(program), .instructions = bpf_program__insn_cnt(program)};
    const char* log = logs[stats.program].data();
    unsigned long processed = 0, per_instruction = 0, total = 0, peak = 0;
    const char* line = strstr(log, "processed ");
    if (line == nullptr || sscanf(line,
                                  "processed %lu insns (limit %*u) max_states_per_insn %lu total_states %lu "
                                  "peak_states %lu",
                                  &processed, &per_instruction, &total, &peak) != 4) {
      return Internal("the verifier's statistics of ", stats.program, " read \"", log, "\"");
    }
    stats.processed = processed;
    stats.total_states = total;
    stats.peak_states = peak;
    out.push_back(std::move(stats));
  }
  return out;
}

}  // namespace skiff::bpf
