// What upstream's API server says about a pod (or a template of pods) in Warning headers: settings that are deprecated,
// without effect or likely a mistake. Pure.
#ifndef SKIFF_CONTROLPLANE_APISERVER_POD_WARNINGS_H_
#define SKIFF_CONTROLPLANE_APISERVER_POD_WARNINGS_H_

#include <string>
#include <vector>

#include "k8s/io/api/core/v1/pod.pb.h"
#include "k8s/io/apimachinery/pkg/apis/meta/v1/generated.pb.h"

namespace skiff::controlplane {

// `prefix` is what stands before "spec" and "metadata" in paths: "" for a pod, "spec.template." for a template.
std::vector<std::string> PodWarnings(const k8s::io::apimachinery::pkg::apis::meta::v1::ObjectMeta& meta,
                                     const k8s::io::api::core::v1::PodSpec& spec, const std::string& prefix);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_POD_WARNINGS_H_
