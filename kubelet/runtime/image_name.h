// Names of images as pods give them. Upstream: github.com/distribution/reference. Pure; any thread.
#ifndef SKIFF_KUBELET_RUNTIME_IMAGE_NAME_H_
#define SKIFF_KUBELET_RUNTIME_IMAGE_NAME_H_

#include <string>

#include "base/status.h"

namespace skiff::kubelet {

// `image` as the runtime wants it: with a tag or digest. Error: what upstream says of a name that does not parse.
StatusOr<std::string> NormalizeImage(const std::string& image);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_RUNTIME_IMAGE_NAME_H_
