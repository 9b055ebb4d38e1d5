// For tests of what is said of pods.
#ifndef SKIFF_API_VALIDATION_POD_TESTING_H_
#define SKIFF_API_VALIDATION_POD_TESTING_H_

#include <initializer_list>
#include <string>
#include <string_view>

#include "api/object.h"
#include "base/status.h"

namespace skiff::api {

// The text's, defaulted; it is called n/x.
StatusOr<Object> PodOf(std::string_view text);

// What is said of the pod, without `Pod "x" is invalid: `.
std::string Said(const Status& status);

struct CreateCase {
  const char *spec, *said;
};
void ExpectCreates(std::initializer_list<CreateCase> cases);

struct UpdateCase {
  const char *before, *patch, *said;
};
void ExpectUpdates(std::string_view subresource, std::initializer_list<UpdateCase> cases);

#define PLAIN R"("containers":[{"name":"c","image":"i"}])"

}  // namespace skiff::api

#endif  // SKIFF_API_VALIDATION_POD_TESTING_H_
