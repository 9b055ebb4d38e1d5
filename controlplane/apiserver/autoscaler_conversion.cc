#include "controlplane/apiserver/autoscaler_conversion.h"

#include "api/codec.h"
#include "k8s/io/api/autoscaling/v1/generated.pb.h"
#include "k8s/io/api/autoscaling/v2/generated.pb.h"

namespace skiff::controlplane {
namespace {

namespace v1 = ::k8s::io::api::autoscaling::v1;
namespace v2 = ::k8s::io::api::autoscaling::v2;
using api::json;

constexpr char kMetrics[] = "autoscaling.alpha.kubernetes.io/metrics";
constexpr char kCurrentMetrics[] = "autoscaling.alpha.kubernetes.io/current-metrics";
constexpr char kConditions[] = "autoscaling.alpha.kubernetes.io/conditions";
constexpr char kBehavior[] = "autoscaling.alpha.kubernetes.io/behavior";

// Where a metric's parts stand in v1. `value` and `average` are below target (or current) in v2.
struct Shape {
  const char *type, *key;                     // "Resource", "resource"
  const char *value, *average, *share;        // of a specification; null where the source has none
  const char *now, *now_average, *now_share;  // the same of a status
  const char* selector;                       // of the metric; null: a resource's name stands alone
};
constexpr Shape kShapes[] = {
    {"Resource", "resource", nullptr, "targetAverageValue", "targetAverageUtilization", nullptr, "currentAverageValue",
     "currentAverageUtilization", nullptr},
    {"ContainerResource", "containerResource", nullptr, "targetAverageValue", "targetAverageUtilization", nullptr,
     "currentAverageValue", "currentAverageUtilization", nullptr},
    {"Pods", "pods", nullptr, "targetAverageValue", nullptr, nullptr, "currentAverageValue", nullptr, "selector"},
    {"Object", "object", "targetValue", "averageValue", nullptr, "currentValue", "averageValue", nullptr, "selector"},
    {"External", "external", "targetValue", "targetAverageValue", nullptr, "currentValue", "currentAverageValue",
     nullptr, "metricSelector"},
};

// What annotations hold may be of any type.
std::string Text(const json& from, const char* name) {
  const auto found = from.is_object() ? from.find(name) : from.end();
  return found != from.end() && found->is_string() ? found->get<std::string>() : "";
}

const Shape* ShapeOf(const json& metric) {
  const std::string type = Text(metric, "type");
  for (const Shape& shape : kShapes)
    if (type == shape.type) return &shape;
  return nullptr;
}

void Move(const json& from, const char* name, json* to, const char* as) {
  if (name && from.contains(name) && !from[name].is_null()) (*to)[as] = from[name];
}

json ToV2(const json& metric, bool status) {
  const Shape* shape = ShapeOf(metric);
  if (!shape || !metric.contains(shape->key)) return metric;
  const json& in = metric[shape->key];
  json out = json::object(), measured = json::object();
  Move(in, status ? shape->now : shape->value, &measured, "value");
  Move(in, status ? shape->now_average : shape->average, &measured, "averageValue");
  Move(in, status ? shape->now_share : shape->share, &measured, "averageUtilization");
  if (!status)
    measured["type"] = measured.contains("averageUtilization") ? "Utilization"
                       : measured.contains("averageValue")     ? "AverageValue"
                                                               : "Value";
  if (shape->selector) {
    out["metric"] = json::object();
    Move(in, "metricName", &out["metric"], "name");
    Move(in, shape->selector, &out["metric"], "selector");
    Move(in, "target", &out, "describedObject");
  } else {
    Move(in, "name", &out, "name");
    Move(in, "container", &out, "container");
  }
  out[status ? "current" : "target"] = std::move(measured);
  return {{"type", shape->type}, {shape->key, std::move(out)}};
}

json ToV1(const json& metric, bool status) {
  const Shape* shape = ShapeOf(metric);
  if (!shape || !metric.contains(shape->key)) return metric;
  const json& in = metric[shape->key];
  json out = json::object();
  if (const auto it = in.find(status ? "current" : "target"); it != in.end()) {
    if (const char* as = status ? shape->now : shape->value) Move(*it, "value", &out, as);
    if (const char* as = status ? shape->now_average : shape->average) Move(*it, "averageValue", &out, as);
    if (const char* as = status ? shape->now_share : shape->share) Move(*it, "averageUtilization", &out, as);
  }
  if (shape->selector) {
    if (const auto it = in.find("metric"); it != in.end()) {
      Move(*it, "name", &out, "metricName");
      Move(*it, "selector", &out, shape->selector);
    }
    Move(in, "describedObject", &out, "target");
  } else {
    Move(in, "name", &out, "name");
    Move(in, "container", &out, "container");
  }
  return {{"type", shape->type}, {shape->key, std::move(out)}};
}

bool IsCpuShare(const json& metric, const char* place) {
  if (Text(metric, "type") != "Resource" || !metric.contains("resource")) return false;
  const json& resource = metric["resource"];
  return Text(resource, "name") == "cpu" && resource.contains(place) && resource[place].contains("averageUtilization");
}

// The annotation's list, each entry made by `make`.
Status TakeList(const json& annotations, const char* name, json* out, const std::function<json(const json&)>& make) {
  if (!annotations.contains(name)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const json list, api::ParseJson(annotations[name].get<std::string>()));
  if (!list.is_array()) return InvalidArgument("annotation ", name, ": not a list");
  for (const json& one : list) {
    if (!one.is_object()) return InvalidArgument("annotation ", name, ": not a list of objects");
    out->push_back(make(one));
  }
  return absl::OkStatus();
}

StatusOr<json> Upgrade(json document) {
  json& spec = document["spec"];
  json& status = document["status"];
  json none = json::object();
  json& annotations = document["metadata"].contains("annotations") && document["metadata"]["annotations"].is_object()
                          ? document["metadata"]["annotations"]
                          : none;
  json metrics = json::array(), current = json::array();
  RETURN_IF_ERROR(TakeList(annotations, kMetrics, &metrics, [](const json& one) { return ToV2(one, false); }));
  RETURN_IF_ERROR(TakeList(annotations, kCurrentMetrics, &current, [](const json& one) { return ToV2(one, true); }));
  auto cpu = [](const char* place, const json& share) {
    return json{{"type", "Resource"}, {"resource", {{"name", "cpu"}, {place, {{"averageUtilization", share}}}}}};
  };
  if (spec.contains("targetCPUUtilizationPercentage")) {
    metrics.push_back(cpu("target", spec["targetCPUUtilizationPercentage"]));
    metrics.back()["resource"]["target"]["type"] = "Utilization";
    spec.erase("targetCPUUtilizationPercentage");
  }
  if (status.is_object() && status.contains("currentCPUUtilizationPercentage")) {
    current.push_back(cpu("current", status["currentCPUUtilizationPercentage"]));
    status.erase("currentCPUUtilizationPercentage");
  }
  if (!metrics.empty()) spec["metrics"] = std::move(metrics);
  if (!current.empty()) status["currentMetrics"] = std::move(current);
  if (annotations.contains(kBehavior)) {
    ASSIGN_OR_RETURN(json behavior, api::ParseJson(annotations[kBehavior].get<std::string>()));
    spec["behavior"] = std::move(behavior);
  }
  json conditions = json::array();
  RETURN_IF_ERROR(TakeList(annotations, kConditions, &conditions, [](const json& one) { return one; }));
  if (!conditions.empty()) status["conditions"] = std::move(conditions);
  for (const char* name : {kMetrics, kCurrentMetrics, kConditions, kBehavior}) annotations.erase(name);
  if (annotations.empty()) document["metadata"].erase("annotations");
  return document;
}

json Downgrade(json document) {
  json& spec = document["spec"];
  json& status = document["status"];
  auto annotate = [&](const char* name, const json& value) {
    std::string text;
    api::AppendJson(value, &text);
    document["metadata"]["annotations"][name] = std::move(text);
  };
  json others = json::array(), current = json::array();
  bool have_share = false, have_current = false;
  if (spec.contains("metrics") && spec["metrics"].is_array())
    for (const json& metric : spec["metrics"]) {
      if (!have_share && IsCpuShare(metric, "target")) {
        spec["targetCPUUtilizationPercentage"] = metric["resource"]["target"]["averageUtilization"];
        have_share = true;
      } else {
        others.push_back(ToV1(metric, false));
      }
    }
  spec.erase("metrics");
  if (status.is_object() && status.contains("currentMetrics") && status["currentMetrics"].is_array())
    for (const json& metric : status["currentMetrics"]) {
      if (!have_current && IsCpuShare(metric, "current")) {
        status["currentCPUUtilizationPercentage"] = metric["resource"]["current"]["averageUtilization"];
        have_current = true;
      }
      current.push_back(ToV1(metric, true));
    }
  if (!others.empty()) annotate(kMetrics, others);
  if (!current.empty()) annotate(kCurrentMetrics, current);
  if (status.is_object() && status.contains("conditions") && status["conditions"].is_array() &&
      !status["conditions"].empty())
    annotate(kConditions, status["conditions"]);
  if (spec.contains("behavior")) annotate(kBehavior, spec["behavior"]);
  spec.erase("behavior");
  if (status.is_object()) {
    status.erase("currentMetrics");
    status.erase("conditions");
  }
  return document;
}

}  // namespace

StatusOr<api::Object> ConvertAutoscaler(api::Object object, const api::TypeOps& to) {
  if (object.type() == &to) return object;
  json document = object.ToJsonValue();
  if (to.version == "v1") {
    document = Downgrade(std::move(document));
  } else {
    ASSIGN_OR_RETURN(document, Upgrade(std::move(document)));
  }
  api::Object out = api::Object::New(to);
  RETURN_IF_ERROR(out.AssignJson(document));
  return out;
}

}  // namespace skiff::controlplane
