// Address management that survives crashes and reboots: one small file an address, named for it, holding who has it.
//
//   STATE_DIR/NETWORK/10.244.1.7      "CONTAINER_ID\nINTERFACE\nBOOT_ID\n", then a line a host port (port_mapping.h)
//   STATE_DIR/NETWORK/last.v4         the address given last, so that a freed one is not given again at once
//   STATE_DIR/NETWORK/lock            flock'ed by every operation: plugins run side by side
//
// A file appears whole or not at all (written aside, then linked with its name: link(2) fails where one exists). Files
// of an earlier boot belong to nobody: their containers are gone with it. Blocking; safe between processes.
#ifndef SKIFF_CNI_PLUGIN_IPAM_H_
#define SKIFF_CNI_PLUGIN_IPAM_H_

#include <string>
#include <vector>

#include "base/files.h"
#include "cni/plugin/request.h"

namespace skiff::cni {

struct Reservation {
  Ip ip;
  Attachment owner;
  bool stale = false;  // of an earlier boot: as good as free
  std::vector<PortMapping> ports;
};

// A host port that leads to an address given here.
struct HostPort {
  Ip pod;
  Attachment owner;
  PortMapping mapping;
};

class Ipam {
 public:
  // Takes the lock; it is held until destruction. `boot_id` is /proc/sys/kernel/random/boot_id's text.
  static StatusOr<Ipam> Open(const std::string& state_dir, const std::string& network, std::string boot_id);

  // The address that the attachment has from this range, or a new one. The network address, the first address (the
  // node's own in other plugins' habit, kept free so that nodes can change plugins) and the last one are never given.
  // kResourceExhausted: "no IP addresses available in range 10.244.1.0/24 (253 of 253 in use)".
  StatusOr<Ip> Allocate(const Prefix& range, const Attachment& attachment);
  // Remembers the attachment's host ports beside its addresses, in the place of what was there.
  Status Claim(const Attachment& attachment, const std::vector<PortMapping>& ports) const;
  // All that are claimed, the oldest claim first.
  StatusOr<std::vector<HostPort>> HostPorts() const;
  // What the attachment has.
  StatusOr<std::vector<Reservation>> Find(const Attachment& attachment) const;
  // What belongs to none of `valid`.
  StatusOr<std::vector<Reservation>> Unlisted(const std::vector<Attachment>& valid) const;
  // Freeing what is free is fine.
  Status Free(const std::vector<Reservation>& reservations) const;

 private:
  Ipam(Dir dir, Fd lock, std::string boot_id)
      : dir_(std::move(dir)), lock_(std::move(lock)), boot_id_(std::move(boot_id)) {}
  StatusOr<std::vector<Reservation>> Reservations() const;
  std::string Text(const Attachment& owner) const;
  Status Put(const std::string& name, std::string_view text, bool replace) const;
  Status Remove(const Ip& ip) const;

  Dir dir_;
  Fd lock_;
  std::string boot_id_;
};

}  // namespace skiff::cni

#endif  // SKIFF_CNI_PLUGIN_IPAM_H_
