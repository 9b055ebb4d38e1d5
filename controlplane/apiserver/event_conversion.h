// Events as core/v1 and as events.k8s.io/v1 show them: one stored object, two shapes. Pure.
#ifndef SKIFF_CONTROLPLANE_APISERVER_EVENT_CONVERSION_H_
#define SKIFF_CONTROLPLANE_APISERVER_EVENT_CONVERSION_H_

#include "api/object.h"

namespace skiff::controlplane {

// `object` as `to`, which is one of the two event types; unchanged when it is that already.
api::Object ConvertEvent(api::Object object, const api::TypeOps& to);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_EVENT_CONVERSION_H_
