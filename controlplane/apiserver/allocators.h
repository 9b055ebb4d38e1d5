// Cluster addresses and node ports that services hold: what is taken is known from the stored services, so nothing else
// is written. Loop thread only; one API server allocates.
#ifndef SKIFF_CONTROLPLANE_APISERVER_ALLOCATORS_H_
#define SKIFF_CONTROLPLANE_APISERVER_ALLOCATORS_H_

#include <cstdint>
#include <random>
#include <set>
#include <string>

#include "base/status.h"

namespace skiff::controlplane {

// IPv4 addresses of one range, without its first (the network) and last (the broadcast) one.
class AddressAllocator {
 public:
  // Error: invalid CIDR.
  static StatusOr<AddressAllocator> Make(const std::string& cidr);
  // The words go into "failed to allocate IP A: ...": "provided IP is already allocated", "the provided IP (A) is not
  // in the valid range. The range of valid IPs is R".
  Status Take(const std::string& address);
  StatusOr<std::string> TakeAny();  // the range is full
  void Release(const std::string& address);
  std::string First() const;    // the API server's own: the first usable
  std::string Network() const;  // what a dry run shows
  const std::string& cidr() const { return cidr_; }

 private:
  std::string cidr_;
  uint32_t base_ = 0, size_ = 0;
  std::set<uint32_t> taken_;  // offsets
  std::mt19937 random_{std::random_device{}()};
};

class PortAllocator {
 public:
  PortAllocator(int first, int last) : first_(first), last_(last) {}
  Status Take(int port);  // "provided port is already allocated"
  StatusOr<int> TakeAny();
  void Release(int port) { taken_.erase(port); }
  bool Taken(int port) const { return taken_.contains(port); }
  bool Contains(int port) const { return port >= first_ && port <= last_; }
  int first() const { return first_; }
  int last() const { return last_; }

 private:
  int first_, last_;
  std::set<int> taken_;
  std::mt19937 random_{std::random_device{}()};
};

struct Allocators {
  AddressAllocator addresses;
  PortAllocator ports;
};

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_ALLOCATORS_H_
