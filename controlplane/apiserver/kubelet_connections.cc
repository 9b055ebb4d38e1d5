#include "controlplane/apiserver/kubelet_connections.h"

#include "api/errors.h"
#include "k8s/io/api/core/v1/node.pb.h"

namespace skiff::controlplane {

namespace core = ::k8s::io::api::core::v1;

std::string KubeletConnections::Endpoint::authority() const {
  return address.find(':') != std::string::npos ? absl::StrCat("[", address, "]:", port)
                                                : absl::StrCat(address, ":", port);
}

StatusOr<KubeletConnections::Endpoint> KubeletConnections::Find(const Admission& objects,
                                                                const std::string& name) const {
  auto node = objects.Find<core::Node>("nodes", "", name);
  if (!node) return api::NotFoundError({"", "nodes", name});
  Endpoint out;
  for (const std::string& type : preferred_) {
    for (const auto& address : node->status().addresses()) {
      if (address.type() != type) continue;
      out.address = address.address();
      break;
    }
    if (!out.address.empty()) break;
  }
  if (out.address.empty())
    return api::InternalError(
        absl::StrCat("no preferred addresses found; known addresses: [",
                     node->status().addresses_size() > 0 ? node->status().addresses(0).address() : "", "]"));
  out.port = node->status().daemonendpoints().kubeletendpoint().port();
  if (out.port <= 0) out.port = 10250;
  return out;
}

std::shared_ptr<http::Client> KubeletConnections::ClientFor(const std::string& authority, bool tls) {
  auto& client = clients_[(tls ? "https://" : "http://") + authority];
  if (!client)
    client = std::make_shared<http::Client>(loop_.get_executor(), authority, tls ? tls_ : nullptr,
                                            http::ClientOptions{.idle_timeout = std::chrono::seconds(30)});
  return client;
}

}  // namespace skiff::controlplane
