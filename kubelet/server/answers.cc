#include "kubelet/server/answers.h"

namespace skiff::kubelet {

Task<void> AnswerText(http::Exchange& exchange, int status, std::string text) {
  (co_await exchange.Respond(status, {{"Content-Type", "text/plain; charset=utf-8"}}, std::move(text))).IgnoreError();
}

Task<void> AnswerError(http::Exchange& exchange, int status, std::string text) {
  http::Headers headers{{"Content-Type", "text/plain; charset=utf-8"}, {"X-Content-Type-Options", "nosniff"}};
  (co_await exchange.Respond(status, std::move(headers), absl::StrCat(text, "\n"))).IgnoreError();
}

Task<void> AnswerNotFound(http::Exchange& exchange) { return AnswerError(exchange, 404, "404 page not found"); }

Task<void> AnswerMethodNotAllowed(http::Exchange& exchange, std::string allow) {
  http::Headers headers{{"Content-Type", "text/plain; charset=utf-8"}, {"Allow", allow}};
  (co_await exchange.Respond(405, std::move(headers), "405: Method Not Allowed")).IgnoreError();
}

Task<void> AnswerRedirect(http::Exchange& exchange, std::string location) {
  http::Headers headers{{"Content-Type", "text/html; charset=utf-8"}, {"Location", location}};
  std::string body = absl::StrCat("<a href=\"", location, "\">Temporary Redirect</a>.\n\n");
  (co_await exchange.Respond(307, std::move(headers), std::move(body))).IgnoreError();
}

Task<void> AnswerJson(http::Exchange& exchange, std::string json) {
  (co_await exchange.Respond(200, {{"Content-Type", "application/json"}}, std::move(json))).IgnoreError();
}

int HttpStatusOf(const Status& status, int otherwise) {
  if (absl::IsNotFound(status)) return 404;
  if (absl::IsInvalidArgument(status)) return 400;
  return otherwise;
}

}  // namespace skiff::kubelet
