#include "kubelet/node/iptables_chains.h"

#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/subprocess.h"

namespace skiff::kubelet {
namespace {

using Words = std::vector<std::string>;

constexpr char kHint[] = "KUBE-IPTABLES-HINT";
constexpr char kFirewall[] = "KUBE-FIREWALL";
constexpr char kCanary[] = "KUBE-KUBELET-CANARY";
constexpr const char* kCanaryTables[] = {"mangle", "nat", "filter"};
constexpr std::chrono::minutes kInterval{1};

class Iptables {
 public:
  Iptables(bool v6, Clock& clock) : v6_(v6), clock_(clock) {}

  const char* protocol() const { return v6_ ? "IPv6" : "IPv4"; }
  // The program is there, and the kernel has its tables.
  Task<bool> Present() {
    auto exists = co_await ChainExists("nat", "POSTROUTING");
    if (!exists.ok()) VLOG(2, "No iptables", {"protocol", protocol()}, {"err", exists.status()});
    co_return exists.ok() && *exists;
  }
  // Everything but the canary; says whether all of it is there.
  Task<bool> Sync();
  Task<void> Monitor();

 private:
  Task<StatusOr<CommandResult>> Run(const char* operation, const char* table, const char* chain, Words rule = {});
  // Exit code 1 is an answer: it is there already, or not there.
  static Status Failure(std::string what, const StatusOr<CommandResult>& result);
  Task<Status> EnsureChain(const char* table, const char* chain);
  Task<Status> EnsureRule(const char* add, const char* table, const char* chain, Words rule);
  Task<StatusOr<bool>> ChainExists(const char* table, const char* chain);
  Task<void> AwaitFlush();

  const bool v6_;
  Clock& clock_;
};

Task<StatusOr<CommandResult>> Iptables::Run(const char* operation, const char* table, const char* chain, Words rule) {
  Command command;
  command.argv = {v6_ ? "ip6tables" : "iptables", "-w", "5", operation, chain, "-t", table};
  for (std::string& word : rule) command.argv.push_back(std::move(word));
  command.timeout = std::chrono::minutes(5);
  co_return co_await RunCommand(std::move(command));
}

Status Iptables::Failure(std::string what, const StatusOr<CommandResult>& result) {
  if (!result.ok()) return Annotate(result.status(), what);
  return Internal(what, ": exit status ", result->exit_code, ": ",
                  absl::StripAsciiWhitespace(absl::StrCat(result->out, result->err)));
}

Task<Status> Iptables::EnsureChain(const char* table, const char* chain) {
  const auto made = co_await Run("-N", table, chain);
  if (made.ok() && (made->exit_code == 0 || made->exit_code == 1)) co_return absl::OkStatus();
  co_return Failure(absl::StrCat("error creating chain \"", chain, "\""), made);
}

Task<Status> Iptables::EnsureRule(const char* add, const char* table, const char* chain, Words rule) {
  const auto there = co_await Run("-C", table, chain, rule);
  if (there.ok() && there->exit_code == 0) co_return absl::OkStatus();
  if (!there.ok() || there->exit_code != 1) co_return Failure("error checking rule", there);
  const auto made = co_await Run(add, table, chain, std::move(rule));
  if (made.ok() && made->exit_code == 0) co_return absl::OkStatus();
  co_return Failure("error appending rule", made);
}

Task<StatusOr<bool>> Iptables::ChainExists(const char* table, const char* chain) {
  const auto listed = co_await Run("-S", table, chain);
  if (listed.ok() && listed->exit_code == 0) co_return true;
  // The lock was not to be had (4): nothing is known.
  if (listed.ok() && listed->exit_code != 4) co_return false;
  co_return Failure(absl::StrCat("error listing chain \"", chain, "\" in table \"", table, "\""), listed);
}

Task<bool> Iptables::Sync() {
  struct Step {
    Task<Status> task;
    const char* failure;
  };
  std::vector<Step> steps;
  steps.push_back({EnsureChain("mangle", kHint), "Failed to ensure that iptables hint chain exists"});
  if (!v6_) {
    steps.push_back(
        {EnsureChain("filter", kFirewall), "Failed to ensure that filter table KUBE-FIREWALL chain exists"});
    for (const char* chain : {"OUTPUT", "INPUT"}) {
      steps.push_back({EnsureRule("-I", "filter", chain, {"-j", kFirewall}),
                       chain[0] == 'O' ? "Failed to ensure that OUTPUT chain jumps to KUBE-FIREWALL"
                                       : "Failed to ensure that INPUT chain jumps to KUBE-FIREWALL"});
    }
    // kube-proxy in its mode iptables makes the same rule.
    steps.push_back({EnsureRule("-A", "filter", kFirewall,
                                {"-m", "comment", "--comment", "block incoming localnet connections", "--dst",
                                 "127.0.0.0/8", "!", "--src", "127.0.0.0/8", "-m", "conntrack", "!", "--ctstate",
                                 "RELATED,ESTABLISHED,DNAT", "-j", "DROP"}),
                     "Failed to ensure rule to drop invalid localhost packets in filter table KUBE-FIREWALL chain"});
  }
  for (Step& step : steps) {
    const Status status = co_await std::move(step.task);
    if (status.ok()) continue;
    if (!absl::IsCancelled(status)) LOG_ERROR(status, step.failure);
    co_return false;
  }
  co_return true;
}

// Whoever flushes goes from table to table: what is made while it does may be gone again.
Task<void> Iptables::AwaitFlush() {
  for (const SteadyTime until = clock_.Steady() + std::chrono::seconds(5);;) {
    bool gone = true;
    for (const char* table : kCanaryTables) {
      const auto exists = co_await ChainExists(table, kCanary);
      gone = gone && exists.ok() && !*exists;
    }
    if (gone) co_return;
    if (clock_.Steady() >= until) break;
    if (absl::IsCancelled(co_await clock_.Sleep(std::chrono::milliseconds(100)))) co_return;
  }
  LOG_INFO("Inconsistent iptables state detected");
}

Task<void> Iptables::Monitor() {
  for (bool set = false;;) {
    if (!set) {
      set = true;
      for (const char* table : kCanaryTables) {
        const Status made = co_await EnsureChain(table, kCanary);
        if (made.ok()) continue;
        if (absl::IsCancelled(made)) co_return;
        LOG_ERROR(made, "Could not set up iptables canary", {"table", table}, {"chain", kCanary});
        set = false;
        break;
      }
    }
    if (absl::IsCancelled(co_await clock_.Sleep(kInterval))) co_return;
    if (!set) continue;
    const auto exists = co_await ChainExists(kCanaryTables[0], kCanary);
    if (absl::IsCancelled(exists.status())) co_return;
    if (!exists.ok()) {
      LOG_ERROR(exists.status(), "Could not check for iptables canary", {"table", kCanaryTables[0]},
                {"chain", kCanary});
      continue;
    }
    if (*exists) continue;
    VLOG(2, "IPTables canary deleted", {"table", kCanaryTables[0]}, {"chain", kCanary});
    co_await AwaitFlush();
    VLOG(2, "Reloading after iptables flush");
    co_await Sync();
    set = false;
  }
}

}  // namespace

Task<void> KeepIptablesChains(asio::any_io_executor executor, Clock& clock) {
  Iptables families[] = {{false, clock}, {true, clock}};
  TaskGroup group(executor);
  bool any = false;
  for (Iptables& family : families) {
    if (!co_await family.Present()) continue;
    any = true;
    if (co_await IsCancelled()) break;
    if (!co_await family.Sync()) {
      LOG_INFO("Failed to initialize iptables rules; some functionality may be missing.",
               {"protocol", family.protocol()});
      continue;
    }
    LOG_INFO("Initialized iptables rules.", {"protocol", family.protocol()});
    group.Spawn("iptables canary", family.Monitor());
  }
  if (!any && !co_await IsCancelled()) {
    LOG_INFO("No iptables support on this system; not creating the KUBE-IPTABLES-HINT chain");
  }
  co_await group.Join();
}

}  // namespace skiff::kubelet
