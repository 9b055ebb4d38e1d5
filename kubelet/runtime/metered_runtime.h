// A runtime that counts and times every call for /metrics, and passes it on. Loop only.
#ifndef SKIFF_KUBELET_RUNTIME_METERED_RUNTIME_H_
#define SKIFF_KUBELET_RUNTIME_METERED_RUNTIME_H_

#include <memory>

#include "base/clock.h"
#include "base/metrics.h"
#include "cri/runtime.h"

namespace skiff::kubelet {

std::unique_ptr<cri::Runtime> Metered(std::unique_ptr<cri::Runtime> runtime, metrics::Registry& registry, Clock& clock);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_METERED_RUNTIME_H_
