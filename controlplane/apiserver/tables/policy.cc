// Tables of quotas, autoscalers, certificate requests and volume attachments.
#include <map>

#include "absl/strings/str_join.h"
#include "api/time.h"
#include "controlplane/apiserver/autoscaler_conversion.h"
#include "controlplane/apiserver/table.h"
#include "k8s/io/api/autoscaling/v2/generated.pb.h"
#include "k8s/io/api/certificates/v1/generated.pb.h"
#include "k8s/io/api/core/v1/namespace.pb.h"
#include "k8s/io/api/flowcontrol/v1/generated.pb.h"
#include "k8s/io/api/storage/v1/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace autoscaling = ::k8s::io::api::autoscaling::v2;
namespace certificates = ::k8s::io::api::certificates::v1;
namespace core = ::k8s::io::api::core::v1;
namespace flowcontrol = ::k8s::io::api::flowcontrol::v1;
namespace storage = ::k8s::io::api::storage::v1;

constexpr int kShownMetrics = 2;

std::string Age(const api::Object& object, WallTime now) { return AgeOf(object.meta().creationtimestamp(), now); }

constexpr Column kQuota[] = {
    {"Name", "string", 0, "name"}, {"Request", "string"}, {"Limit", "string"}, {"Age", "string"}};
void QuotaCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& status = object.As<core::ResourceQuota>()->status();
  std::map<std::string_view, std::string_view> hard;
  for (const auto& [resource, quantity] : status.hard()) hard.emplace(resource, quantity.string());
  std::string requests, limits;
  for (const auto& [resource, most] : hard) {
    const auto used = status.used().find(std::string(resource));
    std::string* out = resource.starts_with("limits.") ? &limits : &requests;
    absl::StrAppend(out, out->empty() ? "" : ", ", std::string(resource), ": ",
                    used == status.used().end() ? "0" : used->second.string(), "/", std::string(most));
  }
  cells.Text(object.meta().name());
  cells.Text(requests);
  cells.Text(limits);
  cells.Text(Age(object, now));
}

constexpr char kUnknown[] = "<unknown>";

// "current/target" of a resource: a quantity, else a share of what was requested.
std::string ResourceTarget(const std::string& name, const autoscaling::MetricTarget& target,
                           const autoscaling::MetricValueStatus* current) {
  if (target.has_averagevalue()) {
    return absl::StrCat(name, ": ", current ? current->averagevalue().string() : kUnknown, "/",
                        target.averagevalue().string());
  }
  return absl::StrCat(
      name, ": ",
      current && current->has_averageutilization() ? absl::StrCat(current->averageutilization(), "%") : kUnknown, "/",
      target.has_averageutilization() ? absl::StrCat(target.averageutilization(), "%") : "<auto>");
}

// "current/target" of an object's or an outside metric.
std::string ValueTarget(const autoscaling::MetricTarget& target, const autoscaling::MetricValueStatus* current) {
  if (target.has_averagevalue()) {
    return absl::StrCat(current && current->has_averagevalue() ? current->averagevalue().string() : kUnknown, "/",
                        target.averagevalue().string(), " (avg)");
  }
  return absl::StrCat(current ? current->value().string() : kUnknown, "/", target.value().string());
}

std::string MetricText(const autoscaling::MetricSpec& spec, const autoscaling::MetricStatus* status) {
  if (spec.type() == "Resource") {
    return ResourceTarget(spec.resource().name(), spec.resource().target(),
                          status && status->has_resource() ? &status->resource().current() : nullptr);
  }
  if (spec.type() == "ContainerResource") {
    return ResourceTarget(spec.containerresource().name(), spec.containerresource().target(),
                          status && status->has_containerresource() ? &status->containerresource().current() : nullptr);
  }
  if (spec.type() == "External") {
    return ValueTarget(spec.external().target(),
                       status && status->has_external() ? &status->external().current() : nullptr);
  }
  if (spec.type() == "Object") {
    return ValueTarget(spec.object().target(), status && status->has_object() ? &status->object().current() : nullptr);
  }
  if (spec.type() == "Pods") {
    return absl::StrCat(status && status->has_pods() ? status->pods().current().averagevalue().string() : kUnknown, "/",
                        spec.pods().target().averagevalue().string());
  }
  return "<unknown type>";
}

constexpr Column kAutoscaler[] = {
    {"Name", "string", 0, "name"}, {"Reference", "string"}, {"Targets", "string"}, {"MinPods", "string"},
    {"MaxPods", "string"},         {"Replicas", "string"},  {"Age", "string"}};
void AutoscalerCells(const api::Object& any, WallTime now, Cells& cells) {
  // Both versions look the same here.
  auto converted = ConvertAutoscaler(any.Clone(), api::TypeOpsOf<autoscaling::HorizontalPodAutoscaler>());
  const api::Object object =
      converted.ok() ? *std::move(converted) : api::Object::Of(autoscaling::HorizontalPodAutoscaler());
  const auto& autoscaler = *object.As<autoscaling::HorizontalPodAutoscaler>();
  const auto& spec = autoscaler.spec();
  std::vector<std::string> metrics;
  for (int i = 0; i < spec.metrics_size() && i < kShownMetrics; ++i) {
    const auto& seen = autoscaler.status().currentmetrics();
    metrics.push_back(MetricText(spec.metrics(i), i < seen.size() ? &seen[i] : nullptr));
  }
  std::string text = metrics.empty() ? "<none>" : absl::StrJoin(metrics, ", ");
  if (spec.metrics_size() > kShownMetrics) {
    absl::StrAppend(&text, " + ", spec.metrics_size() - kShownMetrics, " more...");
  }
  cells.Text(object.meta().name());
  cells.Text(absl::StrCat(spec.scaletargetref().kind(), "/", spec.scaletargetref().name()));
  cells.Text(text);
  cells.Text(spec.has_minreplicas() ? absl::StrCat(spec.minreplicas()) : "<unset>");
  cells.Int(spec.maxreplicas());
  cells.Int(autoscaler.status().currentreplicas());
  cells.Text(Age(object, now));
}

constexpr Column kRequest[] = {{"Name", "string", 0, "name"},   {"Age", "string"},
                               {"SignerName", "string"},        {"Requestor", "string"},
                               {"RequestedDuration", "string"}, {"Condition", "string"}};
void RequestCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& request = *object.As<certificates::CertificateSigningRequest>();
  bool approved = false, denied = false, failed = false;
  for (const auto& condition : request.status().conditions()) {
    approved |= condition.type() == "Approved";
    denied |= condition.type() == "Denied";
    failed |= condition.type() == "Failed";
  }
  const auto& spec = request.spec();
  cells.Text(object.meta().name());
  cells.Text(Age(object, now));
  cells.Text(spec.signername().empty() ? "<none>" : spec.signername());
  cells.Text(spec.username());
  cells.Text(spec.has_expirationseconds() ? api::HumanDuration(std::chrono::seconds(spec.expirationseconds()))
                                          : "<none>");
  cells.Text(absl::StrCat(denied     ? "Denied"
                          : approved ? "Approved"
                                     : "Pending",
                          failed ? ",Failed" : "", request.status().certificate().empty() ? "" : ",Issued"));
}

constexpr Column kAttachment[] = {{"Name", "string", 0, "name"},
                                  {"Attacher", "string", 0, "name"},
                                  {"PV", "string"},
                                  {"Node", "string"},
                                  {"Attached", "boolean"},
                                  {"Age", "string"}};
void AttachmentCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& attachment = *object.As<storage::VolumeAttachment>();
  cells.Text(object.meta().name());
  cells.Text(attachment.spec().attacher());
  cells.Text(attachment.spec().source().persistentvolumename());
  cells.Text(attachment.spec().nodename());
  cells.Bool(attachment.status().attached());
  cells.Text(Age(object, now));
}

constexpr Column kFlowSchema[] = {
    {"Name", "string", 0, "name"},     {"PriorityLevel", "string"}, {"MatchingPrecedence", "string"},
    {"DistinguisherMethod", "string"}, {"Age", "string"},           {"MissingPL", "string"}};
void FlowSchemaCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& schema = *object.As<flowcontrol::FlowSchema>();
  std::string missing = "?";
  for (const auto& condition : schema.status().conditions())
    if (condition.type() == "Dangling") missing = condition.status();
  cells.Text(object.meta().name());
  cells.Text(schema.spec().prioritylevelconfiguration().name());
  cells.Int(schema.spec().matchingprecedence());
  cells.Text(schema.spec().has_distinguishermethod() ? schema.spec().distinguishermethod().type() : "<none>");
  cells.Text(Age(object, now));
  cells.Text(missing);
}

constexpr Column kPriorityLevel[] = {{"Name", "string", 0, "name"},
                                     {"Type", "string"},
                                     {"NominalConcurrencyShares", "string"},
                                     {"Queues", "string"},
                                     {"HandSize", "string"},
                                     {"QueueLengthLimit", "string"},
                                     {"Age", "string"}};
void PriorityLevelCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& spec = object.As<flowcontrol::PriorityLevelConfiguration>()->spec();
  const bool queues = spec.has_limited() && spec.limited().limitresponse().has_queuing();
  const auto& queuing = spec.limited().limitresponse().queuing();
  cells.Text(object.meta().name());
  cells.Text(spec.type());
  if (spec.has_limited())
    cells.Int(spec.limited().nominalconcurrencyshares());
  else
    cells.Text("<none>");
  for (const int32_t number : {queuing.queues(), queuing.handsize(), queuing.queuelengthlimit()}) {
    if (queues)
      cells.Int(number);
    else
      cells.Text("<none>");
  }
  cells.Text(Age(object, now));
}

struct Row {
  std::string_view group, plural;
  TableForm form;
};
const Row kForms[] = {
    {"", "resourcequotas", {kQuota, QuotaCells}},
    {"autoscaling", "horizontalpodautoscalers", {kAutoscaler, AutoscalerCells}},
    {"certificates.k8s.io", "certificatesigningrequests", {kRequest, RequestCells}},
    {"flowcontrol.apiserver.k8s.io", "flowschemas", {kFlowSchema, FlowSchemaCells}},
    {"flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", {kPriorityLevel, PriorityLevelCells}},
    {"storage.k8s.io", "volumeattachments", {kAttachment, AttachmentCells}},
};

}  // namespace

const TableForm* PolicyTable(std::string_view group, std::string_view plural) {
  for (const Row& row : kForms)
    if (row.group == group && row.plural == plural) return &row.form;
  return nullptr;
}

}  // namespace skiff::controlplane
