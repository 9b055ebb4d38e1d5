// Tables of discovery, networking and events.
#include "api/time.h"
#include "controlplane/apiserver/event_conversion.h"
#include "controlplane/apiserver/table.h"
#include "k8s/io/api/core/v1/event.pb.h"
#include "k8s/io/api/discovery/v1/generated.pb.h"
#include "k8s/io/api/networking/v1/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace core = ::k8s::io::api::core::v1;
namespace discovery = ::k8s::io::api::discovery::v1;
namespace networking = ::k8s::io::api::networking::v1;

std::string Age(const api::Object& object, WallTime now) { return AgeOf(object.meta().creationtimestamp(), now); }

// At most three, then how many more.
std::string Few(const std::vector<std::string>& all, const char* none) {
  if (all.empty()) return none;
  std::string text;
  for (size_t i = 0; i < all.size() && i < 3; ++i) absl::StrAppend(&text, i > 0 ? "," : "", all[i]);
  if (all.size() > 3) absl::StrAppend(&text, " + ", all.size() - 3, " more...");
  return text;
}

constexpr Column kSlice[] = {{"Name", "string", 0, "name"},
                             {"AddressType", "string"},
                             {"Ports", "string"},
                             {"Endpoints", "string"},
                             {"Age", "string"}};
void SliceCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& slice = *object.As<discovery::EndpointSlice>();
  std::vector<std::string> ports, addresses;
  for (const auto& port : slice.ports()) {
    std::string text = port.has_port() ? absl::StrCat(port.port()) : "*";
    if (!port.has_port() && !port.name().empty()) text = port.name();
    ports.push_back(text);
  }
  for (const auto& endpoint : slice.endpoints())
    for (const std::string& address : endpoint.addresses()) addresses.push_back(address);
  cells.Text(object.meta().name());
  cells.Text(slice.addresstype());
  cells.Text(Few(ports, "<unset>"));
  cells.Text(Few(addresses, "<unset>"));
  cells.Text(Age(object, now));
}

constexpr Column kEvent[] = {{"Last Seen", "string"},      {"Type", "string"},          {"Reason", "string"},
                             {"Object", "string"},         {"Subobject", "string", 1},  {"Source", "string", 1},
                             {"Message", "string"},        {"First Seen", "string", 1}, {"Count", "string", 1},
                             {"Name", "string", 1, "name"}};
void EventCells(const api::Object& object, WallTime now, Cells& cells) {
  static const api::TypeOps& kType = api::TypeOpsOf<core::Event>();
  api::Object converted;
  const core::Event* event = object.As<core::Event>();
  if (!event) {
    converted = ConvertEvent(object.Clone(), kType);
    event = converted.As<core::Event>();
  }
  metav1::Time first = event->firsttimestamp(), micro;
  micro.set_seconds(event->eventtime().seconds());
  if (first.seconds() == 0) first = micro;
  metav1::Time last = event->lasttimestamp();
  if (last.seconds() == 0) last = first;
  int64_t count = event->count();
  if (event->has_series()) {
    last.set_seconds(event->series().lastobservedtime().seconds());
    count = event->series().count();
  } else if (count == 0) {
    count = 1;
  }
  std::string source = event->source().component();
  if (!event->source().host().empty()) absl::StrAppend(&source, ", ", event->source().host());
  if (source.empty()) {
    source = event->reportingcomponent();
    if (!event->reportinginstance().empty()) absl::StrAppend(&source, ", ", event->reportinginstance());
  }
  std::string kind = event->involvedobject().kind();
  for (char& c : kind) c = static_cast<char>(tolower(c));
  std::string target = kind;
  if (!event->involvedobject().name().empty()) absl::StrAppend(&target, "/", event->involvedobject().name());
  std::string message = event->message();
  while (!message.empty() && isspace(static_cast<unsigned char>(message.back()))) message.pop_back();
  cells.Text(AgeOf(last, now));
  cells.Text(event->type());
  cells.Text(event->reason());
  cells.Text(target);
  cells.Text(event->involvedobject().fieldpath());
  cells.Text(source);
  cells.Text(message);
  cells.Text(AgeOf(first, now));
  cells.Int(count);
  cells.Text(object.meta().name());
}

constexpr Column kIngress[] = {{"Name", "string", 0, "name"}, {"Class", "string"}, {"Hosts", "string"},
                               {"Address", "string"},         {"Ports", "string"}, {"Age", "string"}};
void IngressCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& ingress = *object.As<networking::Ingress>();
  std::vector<std::string> hosts;
  for (const auto& rule : ingress.spec().rules())
    if (!rule.host().empty()) hosts.push_back(rule.host());
  std::string address;
  for (const auto& point : ingress.status().loadbalancer().ingress())
    absl::StrAppend(&address, address.empty() ? "" : ",", point.ip().empty() ? point.hostname() : point.ip());
  cells.Text(object.meta().name());
  cells.Text(ingress.spec().has_ingressclassname() ? ingress.spec().ingressclassname() : "<none>");
  cells.Text(Few(hosts, "*"));
  cells.Text(address);
  cells.Text(ingress.spec().tls_size() > 0 ? "80, 443" : "80");
  cells.Text(Age(object, now));
}

constexpr Column kIngressClass[] = {
    {"Name", "string", 0, "name"}, {"Controller", "string"}, {"Parameters", "string"}, {"Age", "string"}};
void IngressClassCells(const api::Object& object, WallTime now, Cells& cells) {
  const auto& spec = object.As<networking::IngressClass>()->spec();
  std::string parameters = "<none>";
  if (spec.has_parameters()) {
    parameters = spec.parameters().kind();
    if (spec.parameters().has_apigroup()) absl::StrAppend(&parameters, ".", spec.parameters().apigroup());
    absl::StrAppend(&parameters, "/", spec.parameters().name());
  }
  cells.Text(object.meta().name());
  cells.Text(spec.controller());
  cells.Text(parameters);
  cells.Text(Age(object, now));
}

constexpr Column kPolicy[] = {{"Name", "string", 0, "name"}, {"Pod-Selector", "string"}, {"Age", "string"}};
void PolicyCells(const api::Object& object, WallTime now, Cells& cells) {
  cells.Text(object.meta().name());
  cells.Text(SelectorText(&object.As<networking::NetworkPolicy>()->spec().podselector()));
  cells.Text(Age(object, now));
}

constexpr Column kIpAddress[] = {{"Name", "string", 0, "name"}, {"ParentRef", "string"}};
void IpAddressCells(const api::Object& object, WallTime, Cells& cells) {
  const auto& spec = object.As<networking::IPAddress>()->spec();
  std::string parent = "<none>";
  if (spec.has_parentref()) {
    parent = spec.parentref().resource();
    if (!spec.parentref().group().empty()) absl::StrAppend(&parent, ".", spec.parentref().group());
    if (!spec.parentref().namespace_().empty()) absl::StrAppend(&parent, "/", spec.parentref().namespace_());
    absl::StrAppend(&parent, "/", spec.parentref().name());
  }
  cells.Text(object.meta().name());
  cells.Text(parent);
}

struct Row {
  std::string_view group, plural;
  TableForm form;
};
const Row kForms[] = {
    {"discovery.k8s.io", "endpointslices", {kSlice, SliceCells}},
    {"", "events", {kEvent, EventCells}},
    {"events.k8s.io", "events", {kEvent, EventCells}},
    {"networking.k8s.io", "ingresses", {kIngress, IngressCells}},
    {"networking.k8s.io", "ingressclasses", {kIngressClass, IngressClassCells}},
    {"networking.k8s.io", "networkpolicies", {kPolicy, PolicyCells}},
    {"networking.k8s.io", "ipaddresses", {kIpAddress, IpAddressCells}},
};

}  // namespace

const TableForm* NetworkTable(std::string_view group, std::string_view plural) {
  for (const Row& row : kForms)
    if (row.group == group && row.plural == plural) return &row.form;
  return nullptr;
}

}  // namespace skiff::controlplane
