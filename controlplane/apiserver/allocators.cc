#include "controlplane/apiserver/allocators.h"

#include <arpa/inet.h>

#include <algorithm>

namespace skiff::controlplane {
namespace {

bool ParseIpv4(const std::string& text, uint32_t* out) {
  in_addr address{};
  if (inet_pton(AF_INET, text.c_str(), &address) != 1) return false;
  *out = ntohl(address.s_addr);
  return true;
}

std::string FormatIpv4(uint32_t value) {
  in_addr address{htonl(value)};
  char text[INET_ADDRSTRLEN];
  return inet_ntop(AF_INET, &address, text, sizeof(text));
}

}  // namespace

StatusOr<AddressAllocator> AddressAllocator::Make(const std::string& cidr) {
  AddressAllocator out;
  const size_t slash = cidr.find('/');
  uint32_t base = 0;
  if (slash == std::string::npos || !ParseIpv4(cidr.substr(0, slash), &base))
    return InvalidArgument("service-cluster-ip-range: invalid CIDR address: ", cidr);
  const std::string bits_text = cidr.substr(slash + 1);
  const int bits = bits_text.empty() || bits_text.size() > 2 ? -1 : atoi(bits_text.c_str());
  if (bits < 8 || bits > 29)
    return InvalidArgument("service-cluster-ip-range: prefix length of ", cidr, " is not in 8..29");
  out.size_ = uint32_t{1} << (32 - bits);
  out.base_ = base & ~(out.size_ - 1);
  out.cidr_ = absl::StrCat(FormatIpv4(out.base_), "/", bits);
  return out;
}

Status AddressAllocator::Take(const std::string& address) {
  uint32_t value = 0;
  if (!ParseIpv4(address, &value) || value <= base_ || value >= base_ + size_ - 1)
    return InvalidArgument("the provided IP (", address, ") is not in the valid range. The range of valid IPs is ",
                           cidr_);
  if (!taken_.insert(value - base_).second) return FailedPrecondition("provided IP is already allocated");
  return absl::OkStatus();
}

StatusOr<std::string> AddressAllocator::TakeAny() {
  // Upstream keeps the lower band for addresses that people choose: the first min(max(16, size/16), 256).
  const uint32_t band = std::min<uint32_t>(std::max<uint32_t>(16, size_ / 16), 256);
  const uint32_t begin = band < size_ - 1 ? band : 1;
  const uint32_t count = size_ - 1 - begin;
  const uint32_t start = std::uniform_int_distribution<uint32_t>(0, count - 1)(random_);
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t offset = begin + (start + i) % count;
    if (taken_.insert(offset).second) return FormatIpv4(base_ + offset);
  }
  for (uint32_t offset = 1; offset < begin; ++offset)
    if (taken_.insert(offset).second) return FormatIpv4(base_ + offset);
  return absl::ResourceExhaustedError("range is full");
}

void AddressAllocator::Release(const std::string& address) {
  uint32_t value = 0;
  if (ParseIpv4(address, &value) && value >= base_) taken_.erase(value - base_);
}

std::string AddressAllocator::First() const { return FormatIpv4(base_ + 1); }
std::string AddressAllocator::Network() const { return FormatIpv4(base_); }

Status PortAllocator::Take(int port) {
  if (!Contains(port))
    return InvalidArgument("provided port is not in the valid range. The range of valid ports is ", first_, "-", last_);
  if (!taken_.insert(port).second) return FailedPrecondition("provided port is already allocated");
  return absl::OkStatus();
}

StatusOr<int> PortAllocator::TakeAny() {
  const int count = last_ - first_ + 1;
  const int start = std::uniform_int_distribution<int>(0, count - 1)(random_);
  for (int i = 0; i < count; ++i) {
    const int port = first_ + (start + i) % count;
    if (taken_.insert(port).second) return port;
  }
  return absl::ResourceExhaustedError("range is full");
}

}  // namespace skiff::controlplane
