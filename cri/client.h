// The CRI over gRPC on a unix socket: one channel (two when images have a socket of their own) of base/grpc_channel.h.
// A call after the runtime has restarted connects again.
#ifndef SKIFF_CRI_CLIENT_H_
#define SKIFF_CRI_CLIENT_H_

#include <memory>
#include <string>

#include "cri/runtime.h"

namespace skiff::cri {

struct ClientOptions {
  std::string endpoint = "unix:///run/containerd/containerd.sock";  // a bare path is taken as unix://
  std::string image_endpoint;                                       // "": the same
  size_t max_message_bytes = 16 << 20;                              // upstream's limit
};

// Does not wait for the runtime: the first call does. kInvalidArgument for an endpoint that is no unix socket.
StatusOr<std::unique_ptr<Runtime>> Connect(asio::any_io_executor executor, ClientOptions options);

struct RuntimeVersion {
  std::string name, version, api_version;  // "containerd", "1.6.20~ds1", "v1"
};
// Asks the runtime which CRI it speaks. kUnimplemented (a runtime with v1alpha2 only) says so in its message.
Task<StatusOr<RuntimeVersion>> DetectVersion(Runtime& runtime);

}  // namespace skiff::cri

#endif  // SKIFF_CRI_CLIENT_H_
