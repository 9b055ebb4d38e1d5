// Autoscalers as autoscaling/v1 and v2 show them: one stored object (v2), two shapes. What v1 has no field for stands
// in its annotations, as upstream has it. Pure.
#ifndef SKIFF_CONTROLPLANE_APISERVER_AUTOSCALER_CONVERSION_H_
#define SKIFF_CONTROLPLANE_APISERVER_AUTOSCALER_CONVERSION_H_

#include "api/object.h"
#include "base/status.h"

namespace skiff::controlplane {

// `object` as `to`, which is one of the two types. Error: an annotation that does not parse.
StatusOr<api::Object> ConvertAutoscaler(api::Object object, const api::TypeOps& to);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_AUTOSCALER_CONVERSION_H_
