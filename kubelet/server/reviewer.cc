#include "kubelet/server/reviewer.h"

#include "client/limited_call.h"
#include "k8s/io/api/authentication/v1/generated.pb.h"
#include "k8s/io/api/authorization/v1/generated.pb.h"

namespace skiff::kubelet {
namespace {

namespace authn = k8s::io::api::authentication::v1;
namespace authz = k8s::io::api::authorization::v1;

constexpr auto kLimit = std::chrono::seconds(30);  // upstream's for the look at a token

class RestReviewer final : public Reviewer {
 public:
  explicit RestReviewer(std::shared_ptr<client::Rest> rest) : rest_(std::move(rest)) {}

  Task<StatusOr<std::optional<UserInfo>>> ReviewToken(std::string token) override {
    authn::TokenReview review;
    review.mutable_spec()->set_token(std::move(token));
    CO_ASSIGN_OR_RETURN(const authn::TokenReview answer,
                        co_await client::CreateWithin(rest_, kLimit, std::move(review)));
    if (!answer.status().authenticated()) co_return std::optional<UserInfo>();
    const auto& from = answer.status().user();
    UserInfo user;
    user.name = from.username();
    user.uid = from.uid();
    user.groups.assign(from.groups().begin(), from.groups().end());
    for (const auto& [name, values] : from.extra()) {
      user.extra[name].assign(values.items().begin(), values.items().end());
    }
    co_return user;
  }

  Task<StatusOr<bool>> ReviewAccess(AccessRequest request) override {
    authz::SubjectAccessReview review;
    auto* spec = review.mutable_spec();
    spec->set_user(request.user.name);
    spec->set_uid(request.user.uid);
    for (const std::string& group : request.user.groups) spec->add_groups(group);
    for (const auto& [name, values] : request.user.extra) {
      auto& extra = (*spec->mutable_extra())[name];
      for (const std::string& value : values) extra.add_items(value);
    }
    auto* resource = spec->mutable_resourceattributes();
    resource->set_verb(request.verb);
    resource->set_version("v1");
    resource->set_resource("nodes");
    resource->set_subresource(request.subresource);
    resource->set_name(request.node);
    CO_ASSIGN_OR_RETURN(const authz::SubjectAccessReview answer,
                        co_await client::CreateWithin(rest_, kLimit, std::move(review)));
    co_return answer.status().allowed();
  }

 private:
  std::shared_ptr<client::Rest> rest_;
};

}  // namespace

std::unique_ptr<Reviewer> NewReviewer(std::shared_ptr<client::Rest> rest) {
  return std::make_unique<RestReviewer>(std::move(rest));
}

}  // namespace skiff::kubelet
