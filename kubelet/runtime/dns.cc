#include "kubelet/runtime/dns.h"

#include <string.h>  // strerrordesc_np

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/files.h"
#include "kubelet/runtime/dns_warnings.h"

namespace skiff::kubelet {
namespace {

std::vector<std::string> Unique(const std::vector<std::string>& in) {
  std::vector<std::string> out;
  for (const auto& s : in) {
    if (std::find(out.begin(), out.end(), s) == out.end()) out.push_back(s);
  }
  return out;
}

// In the place of one of the same name ("ndots:5"), or behind them all.
void SetOption(std::string option, std::vector<std::string>* options) {
  auto name_of = [](std::string_view text) { return text.substr(0, text.find(':')); };
  for (auto& there : *options) {
    if (name_of(there) != name_of(option)) continue;
    there = std::move(option);
    return;
  }
  options->push_back(std::move(option));
}

constexpr size_t kMaxServers = 3, kMaxSearches = 32, kMaxSearchChars = 2048, kMaxDomain = 253;

StatusOr<std::string> Truncated(const Pod& pod, const std::string& name) {
  constexpr size_t kLongest = 63;
  if (name.size() <= kLongest) return name;
  std::string cut = name.substr(0, kLongest);
  while (!cut.empty() && (cut.back() == '-' || cut.back() == '.')) cut.pop_back();
  if (cut.empty())
    return InvalidArgument("hostname for pod \"", pod.metadata().name(), "\" was invalid: \"", name, "\"");
  return cut;
}

}  // namespace

StatusOr<Resolver> ParseResolvConf(std::string_view text) {
  Resolver out;
  for (std::string_view line : absl::StrSplit(text, '\n')) {
    if (size_t hash = line.find_first_of("#;"); hash == 0) continue;
    std::vector<std::string> fields = absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (fields.empty()) continue;
    if (fields[0] == "nameserver") {
      if (fields.size() < 2) return InvalidArgument("nameserver list is empty ");
      out.servers.push_back(fields[1]);
    } else if (fields[0] == "search") {
      out.searches.assign(fields.begin() + 1, fields.end());
      std::erase(out.searches, ".");
      for (auto& s : out.searches) {
        if (s.back() == '.') s.pop_back();
      }
    } else if (fields[0] == "options") {
      for (size_t i = 1; i < fields.size(); ++i) SetOption(std::move(fields[i]), &out.options);
    }
  }
  return out;
}

StatusOr<Resolver> PodResolver(const Pod& pod, const DnsSettings& settings,
                               std::vector<std::pair<std::string, std::string>>* warnings) {
  Resolver r;
  if (!settings.resolv_conf.empty()) {
    ASSIGN_OR_RETURN(std::string text, ReadFile(settings.resolv_conf, 1 << 20), "could not open resolv conf file ",
                     settings.resolv_conf);
    ASSIGN_OR_RETURN(r, ParseResolvConf(text), "Encountered error while parsing resolv conf file. Error");
  }
  const std::string& policy = pod.spec().dnspolicy();
  bool cluster =
      policy == "ClusterFirstWithHostNet" || (policy != "Default" && policy != "None" && !IsHostNetwork(pod));
  bool host = policy == "Default" || (policy == "ClusterFirst" && IsHostNetwork(pod));
  if (policy == "None") {
    r = Resolver();
  } else if (cluster && !settings.cluster_dns.empty()) {
    r.servers = settings.cluster_dns;
    if (!settings.cluster_domain.empty()) {
      std::vector<std::string> searches = {absl::StrCat(pod.metadata().namespace_(), ".svc.", settings.cluster_domain),
                                           absl::StrCat("svc.", settings.cluster_domain), settings.cluster_domain};
      searches.insert(searches.end(), r.searches.begin(), r.searches.end());
      r.searches = Unique(searches);
    }
    r.options = {"ndots:5"};
  } else {
    if (cluster && warnings != nullptr) {
      warnings->emplace_back(kMissingClusterDns, absl::StrCat("pod: \"", FormatPod(pod), "\". ", kNoClusterDns));
      host = true;
    }
    if ((host || cluster) && settings.resolv_conf.empty()) {
      for (const auto& ip : settings.node_ips)
        r.servers.push_back(ip.find(':') != std::string::npos ? "::1" : "127.0.0.1");
      if (r.servers.empty()) r.servers.emplace_back("127.0.0.1");
      r.searches = {"."};
    }
  }
  if (pod.spec().has_dnsconfig()) {
    const auto& config = pod.spec().dnsconfig();
    r.servers.insert(r.servers.end(), config.nameservers().begin(), config.nameservers().end());
    r.searches.insert(r.searches.end(), config.searches().begin(), config.searches().end());
    r.servers = Unique(r.servers);
    r.searches = Unique(r.searches);
    for (const auto& option : config.options()) {
      SetOption(option.value().empty() ? option.name() : absl::StrCat(option.name(), ":", option.value()), &r.options);
    }
  }
  // What resolvers can take.
  if (r.servers.size() > kMaxServers) {
    r.servers.resize(kMaxServers);
    if (warnings != nullptr) {
      warnings->emplace_back("DNSConfigForming",
                             absl::StrCat("Nameserver limits were exceeded, some nameservers have been omitted, the "
                                          "applied nameserver line is: ",
                                          absl::StrJoin(r.servers, " ")));
    }
  }
  bool cut = r.searches.size() > kMaxSearches;
  if (cut) r.searches.resize(kMaxSearches);
  if (std::erase_if(r.searches, [](const auto& s) { return s.size() > kMaxDomain; }) > 0) cut = true;
  while (absl::StrJoin(r.searches, " ").size() > kMaxSearchChars) {
    r.searches.pop_back();
    cut = true;
  }
  if (cut && warnings != nullptr) {
    warnings->emplace_back("DNSConfigForming",
                           absl::StrCat("Search Line limits were exceeded, some search paths have been omitted, the "
                                        "applied search line is: ",
                                        absl::StrJoin(r.searches, " ")));
  }
  return r;
}

std::string ResolvConfProblem(const std::string& path, const std::string& cluster_domain) {
  const auto text = ReadFile(path, 1 << 20);
  if (!text.ok()) {
    const char* why = strerrordesc_np(ErrnoOf(text.status()));
    std::string lower = why == nullptr ? "" : why;
    if (!lower.empty()) lower[0] = absl::ascii_tolower(static_cast<unsigned char>(lower[0]));
    return absl::StrCat("open ", path, ": ", lower);
  }
  const auto host = ParseResolvConf(*text);
  if (!host.ok()) return std::string(host.status().message());
  constexpr size_t kOwn = 3;  // of the cluster, before the file's
  const size_t most = cluster_domain.empty() ? kMaxSearches : kMaxSearches - kOwn;
  if (host->searches.size() > most) {
    return absl::StrCat("Resolv.conf file '", path, "' contains search line consisting of more than ", most,
                        " domains!");
  }
  for (const std::string& search : host->searches) {
    if (search.size() <= kMaxDomain) continue;
    return absl::StrCat("Resolv.conf file \"", path, "\" contains a search path which length is more than allowed ",
                        kMaxDomain, " chars!");
  }
  if (absl::StrJoin(host->searches, " ").size() > kMaxSearchChars) {
    return absl::StrCat("Resolv.conf file '", path, "' contains search line which length is more than allowed ",
                        kMaxSearchChars, " chars!");
  }
  return "";
}

StatusOr<PodHostname> HostnameOf(const Pod& pod, const std::string& cluster_domain) {
  PodHostname out;
  if (pod.spec().has_hostnameoverride()) {
    ASSIGN_OR_RETURN(out.name, Truncated(pod, pod.spec().hostnameoverride()));
    return out;
  }
  ASSIGN_OR_RETURN(out.name,
                   Truncated(pod, pod.spec().hostname().empty() ? pod.metadata().name() : pod.spec().hostname()));
  if (!pod.spec().subdomain().empty()) {
    out.domain = absl::StrCat(pod.spec().subdomain(), ".", pod.metadata().namespace_(), ".svc.", cluster_domain);
  }
  return out;
}

StatusOr<std::string> KernelHostname(const Pod& pod, const PodHostname& hostname) {
  if (!pod.spec().sethostnameasfqdn() || hostname.domain.empty() || IsHostNetwork(pod)) return hostname.name;
  std::string full = absl::StrCat(hostname.name, ".", hostname.domain);
  if (full.size() > 64) {
    return InvalidArgument("failed to construct FQDN from pod hostname and cluster domain, FQDN ", full,
                           " is too long (64 characters is the max, ", full.size(), " characters requested)");
  }
  return full;
}

}  // namespace skiff::kubelet
