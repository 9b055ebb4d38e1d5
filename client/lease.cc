#include "client/lease.h"

#include <algorithm>
#include <optional>

#include "api/time.h"
#include "base/log.h"
#include "client/object.h"
#include "client/rate_limit.h"
#include "k8s/io/api/coordination/v1/generated.pb.h"

namespace skiff::client {
namespace {

using ::k8s::io::api::coordination::v1::Lease;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kMostUpdateTries = 5;
constexpr seconds kMostWait{7};

struct NodeLease {
  std::shared_ptr<Rest> rest;
  NodeLeaseOptions options;
  std::optional<Lease> latest;

  Lease Next(const Lease* base) const {
    Lease lease;
    if (base != nullptr) {
      lease = *base;
    } else {
      lease.mutable_metadata()->set_name(options.node_name);
      lease.mutable_metadata()->set_namespace_(options.ns);
      lease.mutable_spec()->set_holderidentity(options.node_name);
      lease.mutable_spec()->set_leasedurationseconds(static_cast<int32_t>(options.duration.count()));
    }
    *lease.mutable_spec()->mutable_renewtime() = api::ToMicroTime(rest->clock().Now());
    if (lease.metadata().ownerreferences().empty()) {
      const std::string uid = options.node_uid ? options.node_uid() : "";
      if (!uid.empty()) {
        auto* owner = lease.mutable_metadata()->add_ownerreferences();
        owner->set_apiversion("v1");
        owner->set_kind("Node");
        owner->set_name(options.node_name);
        owner->set_uid(uid);
      }
    }
    return lease;
  }

  Task<Status> Update(Lease base) {
    Status status;
    for (int i = 0; i < kMostUpdateTries; ++i) {
      auto updated = co_await rest->Update(Next(&base));
      if (updated.ok()) {
        latest = *std::move(updated);
        co_return absl::OkStatus();
      }
      status = updated.status();
      if (absl::IsCancelled(status) || IsNotFound(status)) co_return status;
      LOG_ERROR(status, "Failed to update lease");
      // Someone else wrote it: take theirs as the base of the next try.
      if (IsConflict(status)) {
        auto read = co_await rest->Get<Lease>(options.ns, options.node_name);
        if (read.ok()) base = *std::move(read);
        continue;
      }
      if (i > 0 && options.on_repeated_failure) options.on_repeated_failure();
      if (!absl::IsDeadlineExceeded(status)) CO_RETURN_IF_ERROR(co_await rest->clock().Sleep(milliseconds(200)));
    }
    co_return Annotate(status, "failed 5 attempts to update lease");
  }

  // Reads the lease, or makes it; waits longer from try to try, for as long as it takes.
  Task<Status> Ensure(bool* created) {
    Backoff backoff(milliseconds(200), kMostWait, 2, 0);
    while (true) {
      auto lease = co_await rest->Get<Lease>(options.ns, options.node_name);
      *created = false;
      if (IsNotFound(lease.status())) {
        lease = co_await rest->Create(Next(nullptr));
        *created = lease.ok();
      }
      if (lease.ok()) {
        latest = *std::move(lease);
        co_return absl::OkStatus();
      }
      if (absl::IsCancelled(lease.status())) co_return lease.status();
      const auto wait = backoff.Next();
      LOG_ERROR(lease.status(), "Failed to ensure lease exists, will retry",
                {"interval_s", static_cast<double>(wait.count()) / 1e9});
      CO_RETURN_IF_ERROR(co_await rest->clock().Sleep(wait));
    }
  }

  Task<Status> Sync() {
    if (latest) {
      const Status status = co_await Update(*latest);
      if (status.ok() || absl::IsCancelled(status)) co_return status;
    }
    bool created = false;
    CO_RETURN_IF_ERROR(co_await Ensure(&created));
    if (created) co_return absl::OkStatus();
    co_return co_await Update(*latest);
  }
};

}  // namespace

Config ForHeartbeats(Config config, std::chrono::nanoseconds status_update_frequency,
                     std::chrono::nanoseconds lease_duration) {
  config.timeout = std::min(status_update_frequency, lease_duration);
  config.qps = -1;
  return config;
}

Task<void> RunNodeLease(std::shared_ptr<Rest> rest, NodeLeaseOptions options) {
  auto lease = std::make_unique<NodeLease>(NodeLease{std::move(rest), std::move(options), std::nullopt});
  const auto interval = std::chrono::nanoseconds(lease->options.duration) / 4;
  while (true) {
    const Status status = co_await lease->Sync();
    if (absl::IsCancelled(status) || co_await IsCancelled()) co_return;
    if (!status.ok()) LOG_ERROR(status, "Will retry updating lease");
    const auto wait =
        interval +
        std::chrono::nanoseconds(static_cast<int64_t>(static_cast<double>(interval.count()) * 0.04 * RandomFraction()));
    if (!(co_await lease->rest->clock().Sleep(wait)).ok()) co_return;
  }
}

}  // namespace skiff::client
