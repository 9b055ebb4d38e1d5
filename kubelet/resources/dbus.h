// As much of D-Bus as it takes to ask systemd for slices: method calls with a few argument types over a Unix socket,
// one at a time. Blocking, bounded as a whole; any thread, one at a time. Wire format: the D-Bus Specification
// (dbus.freedesktop.org/doc/dbus-specification.html), little endian.
//
// Nothing is read between calls: a connection to systemd itself, which tells all of them what happens to its units,
// must not be kept.
#ifndef SKIFF_KUBELET_RESOURCES_DBUS_H_
#define SKIFF_KUBELET_RESOURCES_DBUS_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/files.h"
#include "base/status.h"

namespace skiff::kubelet {

using DbusValue = std::variant<bool, uint64_t, std::string, std::vector<std::string>>;  // b, t, s, as
using DbusProperties = std::vector<std::pair<std::string, DbusValue>>;                  // a(sv)

// A message's body in the making. Values follow each other; `signature` grows with them.
class DbusBody {
 public:
  DbusBody& Add(std::string_view text);                                    // s
  DbusBody& Add(const char* text) { return Add(std::string_view(text)); }  // else it would become a boolean
  DbusBody& Add(bool value);                                               // b
  DbusBody& Add(uint32_t value);                                           // u
  DbusBody& Add(const DbusProperties& properties);                         // a(sv)
  DbusBody& AddNoAuxiliaries();                                            // a(sa(sv)), empty
  const std::string& bytes() const { return bytes_; }
  const std::string& signature() const { return signature_; }

 private:
  std::string bytes_, signature_;
};

struct DbusCall {
  std::string destination;  // "" on a connection without a bus (systemd's own socket)
  std::string path, interface, member;
  DbusBody body;
};

// The whole message as it goes over the wire.
std::string MarshalCall(const DbusCall& call, uint32_t serial);

class DbusConnection {
 public:
  // `bus`: a message bus, which wants to be greeted; else a peer. All that is done with the connection, this included,
  // takes no longer than `limit`; then it is broken, and the error kDeadlineExceeded.
  static StatusOr<std::unique_ptr<DbusConnection>> Connect(const std::string& socket_path, bool bus,
                                                           std::chrono::milliseconds limit);
  // Until the answer; what else comes meanwhile is dropped. An error answer is a Status with D-Bus's name of it and its
  // text ("org.freedesktop.systemd1.UnitExists: Unit x.slice already exists."). Any other error ends the connection.
  Status Call(const DbusCall& call);
  bool broken() const { return !fd_.valid(); }

 private:
  DbusConnection(Fd fd, std::chrono::steady_clock::time_point deadline) : fd_(std::move(fd)), deadline_(deadline) {}
  Status Authenticate();
  Status Await(short events, const char* doing);
  Status Write(std::string_view data);
  StatusOr<std::string> Read(size_t n);

  Fd fd_;
  std::chrono::steady_clock::time_point deadline_;
  uint32_t serial_ = 0;
};

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RESOURCES_DBUS_H_
