// What upstream's API server fills in when an object is decoded (defaulting), for every kind that has any. Idempotent.
// Thread-safe. Admission (service account, tolerations, priority, limit ranges) and strategy (status, generation,
// allocated addresses) are not in here.
#ifndef SKIFF_API_DEFAULTS_H_
#define SKIFF_API_DEFAULTS_H_

#include <google/protobuf/message.h>

#include "api/object.h"

namespace k8s::io::api::core::v1 {
class Pod;
}

namespace skiff::api {

// Sets defaults by the message's type; kinds without defaults are left as they are.
void SetDefaults(google::protobuf::Message* message);
// The same for a pod, without linking the other groups' types in (static pods).
void SetPodDefaults(k8s::io::api::core::v1::Pod* pod);
inline void SetDefaults(Object* object) {
  if (object->mutable_message() != nullptr) SetDefaults(object->mutable_message());
}

}  // namespace skiff::api

#endif  // SKIFF_API_DEFAULTS_H_
