// TokenReview, SelfSubjectReview and the access reviews.
#ifndef SKIFF_CONTROLPLANE_APISERVER_REVIEWS_H_
#define SKIFF_CONTROLPLANE_APISERVER_REVIEWS_H_

#include "controlplane/apiserver/server_parts.h"

namespace skiff::controlplane {

Task<Status> ServeReview(ServerParts& parts, Call& call);

}  // namespace skiff::controlplane

#endif  // SKIFF_CONTROLPLANE_APISERVER_REVIEWS_H_
