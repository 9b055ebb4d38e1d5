// TokenReview and SubjectAccessReview asked of the API server. Loop only.
#ifndef SKIFF_KUBELET_SERVER_REVIEWER_H_
#define SKIFF_KUBELET_SERVER_REVIEWER_H_

#include <memory>

#include "client/rest.h"
#include "kubelet/server/auth.h"

namespace skiff::kubelet {

std::unique_ptr<Reviewer> NewReviewer(std::shared_ptr<client::Rest> rest);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_SERVER_REVIEWER_H_
