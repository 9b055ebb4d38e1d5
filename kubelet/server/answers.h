// Answers as the handlers of the kubelet's server give them: plain text in Go's two styles, redirects. Loop only.
#ifndef SKIFF_KUBELET_SERVER_ANSWERS_H_
#define SKIFF_KUBELET_SERVER_ANSWERS_H_

#include <string>

#include "base/http_server.h"

namespace skiff::kubelet {

// The text as it is (go-restful's WriteError).
Task<void> AnswerText(http::Exchange& exchange, int status, std::string text);
// The text with a newline and `X-Content-Type-Options: nosniff` (Go's http.Error).
Task<void> AnswerError(http::Exchange& exchange, int status, std::string text);
Task<void> AnswerNotFound(http::Exchange& exchange);  // "404 page not found"
// "405: Method Not Allowed" with Allow.
Task<void> AnswerMethodNotAllowed(http::Exchange& exchange, std::string allow);
// 307 to `location` with Go's little page.
Task<void> AnswerRedirect(http::Exchange& exchange, std::string location);
Task<void> AnswerJson(http::Exchange& exchange, std::string json);
// The HTTP status for an error of the core: 404, 400 or 500, or what the caller says for the rest.
int HttpStatusOf(const Status& status, int otherwise = 500);

}  // namespace skiff::kubelet

#endif  // SKIFF_KUBELET_SERVER_ANSWERS_H_
