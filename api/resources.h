// Internal to api: the rows behind scheme.h.
#ifndef SKIFF_API_RESOURCES_H_
#define SKIFF_API_RESOURCES_H_

#include <span>

#include "api/scheme.h"

namespace skiff::api::internal {

std::span<const Resource> ResourceTable();

}  // namespace skiff::api::internal

#endif  // SKIFF_API_RESOURCES_H_
