#include "cri/runtime.h"

namespace skiff::cri {

Task<StatusOr<std::string>> Runtime::ListPodSandboxEncoded(CallOptions options) {
  CO_ASSIGN_OR_RETURN(const auto answer, co_await ListPodSandbox({}, options));
  co_return answer.SerializeAsString();
}

Task<StatusOr<std::string>> Runtime::ListContainersEncoded(CallOptions options) {
  CO_ASSIGN_OR_RETURN(const auto answer, co_await ListContainers({}, options));
  co_return answer.SerializeAsString();
}

}  // namespace skiff::cri
