#include "kubelet/volume/hosts_file.h"
#include "kubelet/state/layout.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/files.h"
#include "kubelet/volume/volume_manager.h"

namespace skiff::kubelet {
namespace {

std::string Aliases(const Pod& pod) {
  if (pod.spec().hostaliases().empty()) return "";
  std::string out = "\n# Entries added by HostAliases.\n";
  for (const auto& alias : pod.spec().hostaliases()) {
    absl::StrAppend(&out, alias.ip(), "\t", absl::StrJoin(alias.hostnames(), "\t"), "\n");
  }
  return out;
}

}  // namespace

std::string ManagedHostsFile(const Pod& pod, const std::vector<std::string>& pod_ips, const std::string& hostname,
                             const std::string& domain) {
  std::string out =
      "# Kubernetes-managed hosts file.\n"
      "127.0.0.1\tlocalhost\n"
      "::1\tlocalhost ip6-localhost ip6-loopback\n"
      "fe00::0\tip6-localnet\n"
      "fe00::0\tip6-mcastprefix\n"
      "fe00::1\tip6-allnodes\n"
      "fe00::2\tip6-allrouters\n";
  for (const std::string& ip : pod_ips) {
    if (domain.empty()) {
      absl::StrAppend(&out, ip, "\t", hostname, "\n");
    } else {
      absl::StrAppend(&out, ip, "\t", hostname, ".", domain, "\t", hostname, "\n");
    }
  }
  return absl::StrCat(out, Aliases(pod));
}

std::string HostNetworkHostsFile(const Pod& pod, const std::string& host_file) {
  return absl::StrCat("# Kubernetes-managed hosts file (host network).\n", host_file, Aliases(pod));
}

StatusOr<std::string> WriteHostsFile(const std::string& root_dir, const Pod& pod,
                                     const std::vector<std::string>& pod_ips, const std::string& hostname,
                                     const std::string& domain, const std::string& host_hosts_path) {
  std::string content;
  if (pod.spec().hostnetwork()) {
    ASSIGN_OR_RETURN(const std::string host, ReadFile(host_hosts_path, 1 << 20));
    content = HostNetworkHostsFile(pod, host);
  } else {
    content = ManagedHostsFile(pod, pod_ips, hostname, domain);
  }
  const std::string dir = PodDir(root_dir, pod.metadata().uid());
  RETURN_IF_ERROR(MakeDirs(dir, 0750));
  const std::string path = layout::EtcHosts(dir);
  // Written in place: running containers have this very file mounted, a rename would leave them with the old one.
  const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("open ", path));
  std::string_view rest = content;
  while (!rest.empty()) {
    const ssize_t n = write(fd.get(), rest.data(), rest.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, absl::StrCat("write ", path));
    }
    rest.remove_prefix(n);
  }
  if (fchmod(fd.get(), 0644) != 0) return ErrnoStatus(errno, absl::StrCat("chmod ", path));
  return path;
}

}  // namespace skiff::kubelet
