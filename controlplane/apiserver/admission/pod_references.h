// Whether a pod refers to secrets and config maps, anywhere in its specification.
#ifndef SKIFF_CONTROLPLANE_APISERVER_ADMISSION_POD_REFERENCES_H_
#define SKIFF_CONTROLPLANE_APISERVER_ADMISSION_POD_REFERENCES_H_

#include "k8s/io/api/core/v1/pod.pb.h"

namespace skiff::controlplane {

bool RefersToSecrets(const ::k8s::io::api::core::v1::PodSpec& spec);
bool RefersToConfigMaps(const ::k8s::io::api::core::v1::PodSpec& spec);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_ADMISSION_POD_REFERENCES_H_
