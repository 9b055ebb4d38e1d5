#include "cni/plugin/ipam.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_split.h"

namespace skiff::cni {
namespace {

// An entry is three short lines and one a host port, of which the configuration that brings them allows this much.
constexpr size_t kMaxEntryBytes = 1 << 20;

std::string LastFile(const Ip& ip) { return ip.v6 ? "last.v6" : "last.v4"; }

}  // namespace

StatusOr<Ipam> Ipam::Open(const std::string& state_dir, const std::string& network, std::string boot_id) {
  const std::string path = JoinPath(state_dir, network);
  RETURN_IF_ERROR(MakeDirs(path, 0700), "create IPAM state directory");
  ASSIGN_OR_RETURN(Dir dir, Dir::Open(path));
  Fd lock(openat(dir.fd(), "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) return ErrnoStatus(errno, absl::StrCat("open ", path, "/lock"));
  while (flock(lock.get(), LOCK_EX) != 0)
    if (errno != EINTR) return ErrnoStatus(errno, absl::StrCat("lock ", path, "/lock"));
  while (!boot_id.empty() && boot_id.back() == '\n') boot_id.pop_back();
  return Ipam(std::move(dir), std::move(lock), std::move(boot_id));
}

StatusOr<std::vector<Reservation>> Ipam::Reservations() const {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, dir_.List());
  std::vector<Reservation> entries;
  for (const std::string& name : names) {
    const auto ip = Ip::Parse(name);
    if (!ip.ok()) continue;  // lock, last.*, a file that a crash left half-made
    ASSIGN_OR_RETURN(const std::string text, dir_.Read(name, kMaxEntryBytes), "read address file ", name);
    const std::vector<std::string> lines = absl::StrSplit(text, '\n');
    Reservation entry{*ip, {}, true, {}};
    if (lines.size() >= 3) {
      entry.owner = {lines[0], lines[1]};
      entry.stale = lines[2] != boot_id_;
      for (size_t i = 3; i < lines.size(); ++i)
        if (const auto port = PortMapping::Parse(lines[i]); port.ok()) entry.ports.push_back(*port);
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

// Not synced: after a power cut the boot id differs and the entry means nothing; before one the page cache holds it.
Status Ipam::Put(const std::string& name, std::string_view text, bool replace) const {
  const std::string part = "new." + name;
  Fd fd(openat(dir_.fd(), part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("create ", name));
  errno = 0;
  if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    const int err = errno == 0 ? ENOSPC : errno;
    unlinkat(dir_.fd(), part.c_str(), 0);
    return ErrnoStatus(err, absl::StrCat("write ", name));
  }
  if (replace) {
    if (renameat(dir_.fd(), part.c_str(), dir_.fd(), name.c_str()) != 0) return ErrnoStatus(errno, "rename " + part);
    return absl::OkStatus();
  }
  const int rc = linkat(dir_.fd(), part.c_str(), dir_.fd(), name.c_str(), 0);
  const int err = errno;
  unlinkat(dir_.fd(), part.c_str(), 0);
  if (rc != 0) return ErrnoStatus(err, absl::StrCat("create ", name));
  return absl::OkStatus();
}

Status Ipam::Remove(const Ip& ip) const {
  const std::string name = ip.ToString();
  if (unlinkat(dir_.fd(), name.c_str(), 0) != 0 && errno != ENOENT)
    return ErrnoStatus(errno, absl::StrCat("remove address file ", name));
  return absl::OkStatus();
}

StatusOr<Ip> Ipam::Allocate(const Prefix& range, const Attachment& attachment) {
  ASSIGN_OR_RETURN(const std::vector<Reservation> entries, Reservations());
  std::vector<Ip> used;
  for (const Reservation& entry : entries) {
    if (!range.Contains(entry.ip)) continue;
    if (entry.stale) {
      RETURN_IF_ERROR(Remove(entry.ip));
    } else if (entry.owner == attachment) {
      return entry.ip;  // an ADD that was cut off and is repeated
    } else {
      used.push_back(entry.ip);
    }
  }
  std::sort(used.begin(), used.end());

  const Ip first = range.First().Plus(2);
  const Ip last = range.Last();  // exclusive
  Ip next = first;
  if (const auto text = dir_.Read(LastFile(first), 64); text.ok()) {
    if (const auto ip = Ip::Parse(*text); ip.ok() && range.Contains(*ip)) next = ip->Plus(1);
  }
  if (next < first || next >= last) next = first;
  // Walk the sorted list of used addresses beside the candidates: as many steps as there are used ones at most.
  for (size_t tried = 0; tried <= used.size() + 1; ++tried) {
    if (!std::binary_search(used.begin(), used.end(), next)) {
      RETURN_IF_ERROR(Put(next.ToString(), Text(attachment), /*replace=*/false), "reserve address");
      RETURN_IF_ERROR(Put(LastFile(next), next.ToString(), /*replace=*/true), "remember the last address given");
      return next;
    }
    next = next.Plus(1);
    if (next >= last) next = first;
  }
  return absl::ResourceExhaustedError(absl::StrCat("no IP addresses available in range ", range.ToString(), " (",
                                                   used.size(), " of ", used.size(), " in use)"));
}

std::string Ipam::Text(const Attachment& owner) const {
  return absl::StrCat(owner.container_id, "\n", owner.interface, "\n", boot_id_, "\n");
}

Status Ipam::Claim(const Attachment& attachment, const std::vector<PortMapping>& ports) const {
  ASSIGN_OR_RETURN(const std::vector<Reservation> held, Find(attachment));
  for (const auto& [ip, owner, stale, before] : held) {
    std::string text = Text(attachment);
    for (const PortMapping& port : ports)
      if (port.Concerns(ip)) absl::StrAppend(&text, port.ToString(), "\n");
    RETURN_IF_ERROR(Put(ip.ToString(), text, /*replace=*/true), "remember host ports");
  }
  return absl::OkStatus();
}

StatusOr<std::vector<HostPort>> Ipam::HostPorts() const {
  ASSIGN_OR_RETURN(const std::vector<Reservation> entries, Reservations());
  std::vector<std::pair<int64_t, HostPort>> claims;
  for (const Reservation& entry : entries) {
    if (entry.stale || entry.ports.empty()) continue;
    ASSIGN_OR_RETURN(const struct stat st, dir_.Stat(entry.ip.ToString()));
    const int64_t since = st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec;
    for (const PortMapping& port : entry.ports) claims.push_back({since, {entry.ip, entry.owner, port}});
  }
  std::stable_sort(claims.begin(), claims.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<HostPort> out;
  for (auto& [since, claim] : claims) out.push_back(std::move(claim));
  return out;
}

StatusOr<std::vector<Reservation>> Ipam::Find(const Attachment& attachment) const {
  ASSIGN_OR_RETURN(std::vector<Reservation> found, Reservations());
  std::erase_if(found, [&](const Reservation& r) { return r.stale || r.owner != attachment; });
  return found;
}

StatusOr<std::vector<Reservation>> Ipam::Unlisted(const std::vector<Attachment>& valid) const {
  ASSIGN_OR_RETURN(std::vector<Reservation> found, Reservations());
  std::erase_if(found, [&](const Reservation& r) {
    return !r.stale && std::find(valid.begin(), valid.end(), r.owner) != valid.end();
  });
  return found;
}

Status Ipam::Free(const std::vector<Reservation>& reservations) const {
  for (const Reservation& r : reservations) RETURN_IF_ERROR(Remove(r.ip));
  return absl::OkStatus();
}

}  // namespace skiff::cni
