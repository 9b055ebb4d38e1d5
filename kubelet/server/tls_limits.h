// tlsMinVersion, tlsCipherSuites and tlsCurvePreferences, in Go's names, as limits of a TLS server. Thread-safe.
#ifndef SKIFF_KUBELET_SERVER_TLS_LIMITS_H_
#define SKIFF_KUBELET_SERVER_TLS_LIMITS_H_

#include <string>
#include <string_view>
#include <vector>

#include "base/tls_limits.h"

namespace skiff::kubelet {

// Errors in upstream's words: "Cipher suite X not supported or doesn't exist", "unknown tls version \"X\"", "duplicate
// curve preference 29". What is insecure or has no effect is logged.
StatusOr<TlsLimits> ReadTlsLimits(std::string_view min_version, const std::vector<std::string>& suites,
                                  const std::vector<int64_t>& curves);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_SERVER_TLS_LIMITS_H_
