#include "kubelet/resources/systemd_slices.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"

namespace skiff::kubelet {
namespace {

constexpr char kManager[] = "org.freedesktop.systemd1.Manager";

class BusSlices final : public SystemdSlices {
 public:
  explicit BusSlices(SystemdOptions options) : options_(std::move(options)) {}
  Status Start(const std::string& slice, const DbusProperties& properties) override {
    DbusBody body;
    body.Add(slice).Add("replace").Add(properties).AddNoAuxiliaries();
    return Ask("StartTransientUnit", std::move(body), "org.freedesktop.systemd1.UnitExists");
  }
  Status SetProperties(const std::string& slice, const DbusProperties& properties) override {
    if (properties.empty()) return absl::OkStatus();
    DbusBody body;
    body.Add(slice).Add(true).Add(properties);  // until the next boot
    return Ask("SetUnitProperties", std::move(body), "");
  }
  Status Stop(const std::string& slice) override {
    DbusBody body;
    body.Add(slice).Add("replace");
    return Ask("StopUnit", std::move(body), "org.freedesktop.systemd1.NoSuchUnit");
  }

 private:
  // `tolerated`: the name of the error that is none.
  Status Ask(const std::string& method, DbusBody body, std::string_view tolerated) {
    bool bus = false;
    auto connection = DbusConnection::Connect(options_.private_socket, false, options_.limit);
    // One that was silent for the whole time has had it.
    if (!connection.ok() && !absl::IsDeadlineExceeded(connection.status())) {
      bus = true;
      connection = DbusConnection::Connect(options_.bus_socket, true, options_.limit);
    }
    if (!connection.ok()) return Annotate(connection.status(), "cgroupDriver systemd needs a running systemd");
    Status s = (*connection)
                   ->Call({bus ? "org.freedesktop.systemd1" : "", "/org/freedesktop/systemd1", kManager, method,
                           std::move(body)});
    if (!s.ok() && !tolerated.empty() && absl::StartsWith(s.message(), tolerated)) return absl::OkStatus();
    return Annotate(std::move(s), absl::StrCat("systemd ", method));
  }

  const SystemdOptions options_;
};

std::string Describe(const DbusProperties& properties) {
  std::vector<std::string> out;
  for (const auto& [name, value] : properties) {
    std::string text;
    if (const bool* b = std::get_if<bool>(&value)) text = *b ? "true" : "false";
    if (const uint64_t* n = std::get_if<uint64_t>(&value)) text = absl::StrCat(*n);
    if (const std::string* s = std::get_if<std::string>(&value)) text = *s;
    if (const auto* list = std::get_if<std::vector<std::string>>(&value)) text = absl::StrJoin(*list, ",");
    out.push_back(absl::StrCat(name, "=", text));
  }
  return absl::StrJoin(out, " ");
}

}  // namespace

std::unique_ptr<SystemdSlices> NewSystemdSlices(SystemdOptions options) {
  return std::make_unique<BusSlices>(std::move(options));
}

std::string ParentSlice(const std::string& slice) {
  const size_t dash = slice.rfind('-');
  return dash == std::string::npos ? "" : slice.substr(0, dash) + ".slice";
}

DbusProperties SlicePropertiesFor(const std::string& slice, const std::string& parent, bool v2) {
  DbusProperties out = {{"Description", absl::StrCat("Kubernetes pods: ", slice)}};
  if (!parent.empty()) out.emplace_back("Wants", std::vector<std::string>{parent});
  // The controllers must be on for what containers below will ask of them.
  for (const char* name : {"MemoryAccounting", "CPUAccounting", "TasksAccounting"}) out.emplace_back(name, true);
  out.emplace_back(v2 ? "IOAccounting" : "BlockIOAccounting", true);
  out.emplace_back("DefaultDependencies", false);
  return out;
}

DbusProperties ResourceProperties(const CgroupResources& r, bool v2) {
  DbusProperties out;
  auto add = [&](const char* name, uint64_t value) { out.emplace_back(name, value); };
  if (r.memory_limit && *r.memory_limit > 0)
    add(v2 ? "MemoryMax" : "MemoryLimit", static_cast<uint64_t>(*r.memory_limit));
  if (r.cpu_shares) {
    add(v2 ? "CPUWeight" : "CPUShares", static_cast<uint64_t>(v2 ? SharesToWeight(*r.cpu_shares) : *r.cpu_shares));
  }
  if (r.cpu_quota && *r.cpu_quota != 0) {
    const int64_t period = r.cpu_period.value_or(100000);
    uint64_t per_second = UINT64_MAX;  // no limit
    if (*r.cpu_quota > 0 && period > 0) {
      // systemd takes whole 10 ms a second, and rounds down by itself; upstream rounds up so that nothing is lost.
      per_second = static_cast<uint64_t>(*r.cpu_quota) * 1000000 / static_cast<uint64_t>(period);
      per_second = (per_second + 9999) / 10000 * 10000;
    }
    if (period > 0 && period != 100000) add("CPUQuotaPeriodUSec", static_cast<uint64_t>(period));
    add("CPUQuotaPerSecUSec", per_second);
  }
  if (r.pids_limit && *r.pids_limit > 0) add("TasksMax", static_cast<uint64_t>(*r.pids_limit));
  return out;
}

Status FakeSystemdSlices::Start(const std::string& slice, const DbusProperties& properties) {
  calls.push_back(absl::StrCat("Start ", slice, " ", Describe(properties)));
  return absl::OkStatus();
}
Status FakeSystemdSlices::SetProperties(const std::string& slice, const DbusProperties& properties) {
  calls.push_back(absl::StrCat("Set ", slice, " ", Describe(properties)));
  return absl::OkStatus();
}
Status FakeSystemdSlices::Stop(const std::string& slice) {
  calls.push_back(absl::StrCat("Stop ", slice));
  return absl::OkStatus();
}

}  // namespace skiff::kubelet
