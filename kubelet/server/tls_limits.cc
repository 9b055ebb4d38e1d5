#include "kubelet/server/tls_limits.h"

#include <algorithm>
#include <set>

#include "base/go_text.h"
#include "base/log.h"

namespace skiff::kubelet {
namespace {

struct Suite {
  std::string_view name;     // as Go has it
  std::string_view openssl;  // "": of TLS 1.3, whose suites cannot be chosen
  bool insecure = false;
};

// Go's suites in the order in which Go prefers them; it does not care for the order in the configuration.
constexpr Suite kSuites[] = {
    {"TLS_AES_128_GCM_SHA256", ""},
    {"TLS_AES_256_GCM_SHA384", ""},
    {"TLS_CHACHA20_POLY1305_SHA256", ""},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305"},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA"},
    {"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA"},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA-AES256-SHA"},
    {"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA"},
    {"TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256", true},
    {"TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384", true},
    {"TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA", true},
    {"TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA", true},
    {"TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", "ECDHE-RSA-DES-CBC3-SHA", true},
    {"TLS_RSA_WITH_3DES_EDE_CBC_SHA", "DES-CBC3-SHA", true},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "ECDHE-ECDSA-AES128-SHA256", true},
    {"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256", true},
    {"TLS_RSA_WITH_AES_128_CBC_SHA256", "AES128-SHA256", true},
    {"TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", "ECDHE-ECDSA-RC4-SHA", true},
    {"TLS_ECDHE_RSA_WITH_RC4_128_SHA", "ECDHE-RSA-RC4-SHA", true},
    {"TLS_RSA_WITH_RC4_128_SHA", "RC4-SHA", true},
};

struct Curve {
  int64_t id;
  std::string_view openssl;  // "": Go has it, the OpenSSL of today's distributions has not
};
constexpr Curve kCurves[] = {{23, "P-256"}, {24, "P-384"}, {25, "P-521"}, {29, "X25519"},
                             {4587, ""},    {4588, ""},    {4589, ""}};

}  // namespace

StatusOr<TlsLimits> ReadTlsLimits(std::string_view min_version, const std::vector<std::string>& suites,
                                  const std::vector<int64_t>& curves) {
  TlsLimits limits;
  for (const std::string& name : suites) {
    const auto* suite =
        std::find_if(std::begin(kSuites), std::end(kSuites), [&](const Suite& s) { return s.name == name; });
    if (suite == std::end(kSuites)) {
      return InvalidArgument("Cipher suite ", name, " not supported or doesn't exist");
    }
    if (suite->insecure) LOG_INFO("Use of insecure cipher detected.", {"cipher", name});
  }
  for (const Suite& suite : kSuites) {
    if (suite.openssl.empty() || std::find(suites.begin(), suites.end(), suite.name) == suites.end()) continue;
    limits.ciphers.emplace_back(suite.openssl);
  }
  constexpr std::string_view kVersions[] = {"VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"};
  if (!min_version.empty()) {
    const auto* version = std::find(std::begin(kVersions), std::end(kVersions), min_version);
    if (version == std::end(kVersions)) return InvalidArgument("unknown tls version ", GoQuote(min_version));
    limits.least_minor_version = static_cast<int>(version - std::begin(kVersions));
  }
  if (limits.least_minor_version == 3 && !suites.empty()) {
    LOG_INFO("Warning: TLS 1.3 cipher suites are not configurable, ignoring --tls-cipher-suites");
  }
  // Suites of TLS 1.3 alone leave nothing to speak with in earlier versions.
  if (!suites.empty() && limits.ciphers.empty()) limits.least_minor_version = 3;

  std::set<int64_t> seen;
  for (const int64_t id : curves) {
    if (id <= 0 || id > 65535) return InvalidArgument("curve preference ", id, " is out of range (must be 1-65535)");
    if (!seen.insert(id).second) return InvalidArgument("duplicate curve preference ", id);
    const auto* curve =
        std::find_if(std::begin(kCurves), std::end(kCurves), [&](const Curve& c) { return c.id == id; });
    if (curve == std::end(kCurves)) {
      return InvalidArgument("curve preference ", id, " is not supported by the current Go version");
    }
    if (curve->openssl.empty()) {
      LOG_WARNING("A curve of tlsCurvePreferences is not available here", {"curve", id});
    } else {
      limits.groups.emplace_back(curve->openssl);
    }
  }
  return limits;
}

}  // namespace skiff::kubelet
