// Objects as Go's spew library prints upstream's structures of them ("%#v": types, sorted keys, no addresses). Upstream
// hashes that text: FNV-1a of it makes pod-template-hash, controller-revision-hash and the uids of static pods. Names
// and order of the fields are those of Kubernetes 1.36 (go_layout.cc). Pure.
//
// Not followed: times (a template or manifest with a creationTimestamp) and a static pod's own status; such an object
// has a print, and so a hash, of ours.
#ifndef SKIFF_API_GO_DUMP_H_
#define SKIFF_API_GO_DUMP_H_

#include <string>

#include "api/codec.h"

namespace k8s::io::api::core::v1 {
class Pod;
class PodTemplateSpec;
}  // namespace k8s::io::api::core::v1

namespace skiff::api {

// As upstream's controllers hold a template that they read from the API.
std::string GoDump(const k8s::io::api::core::v1::PodTemplateSpec& template_spec);

// As upstream's kubelet holds a static pod: the internal type, decoded and defaulted. `manifest` is the document that
// the pod was read from: it tells empty lists from none, and how quantities were written.
std::string GoDump(const k8s::io::api::core::v1::Pod& pod, const json& manifest);

}  // namespace skiff::api

#endif  // SKIFF_API_GO_DUMP_H_
