#include "client/credentials.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/files.h"

namespace skiff::client {
namespace {

constexpr std::chrono::seconds kTokenLifetime{60};

class FixedCredentials final : public Credentials {
 public:
  FixedCredentials(const Config& config, std::shared_ptr<TlsClientConfig> tls, Clock& clock)
      : token_(config.token), token_file_(config.token_file), tls_(std::move(tls)), clock_(clock) {
    if (!config.username.empty()) basic_ = Base64Encode(config.username + ":" + config.password);
  }

  Task<Status> Authorize(http::Headers* headers) override {
    if (!token_file_.empty()) {
      if (file_token_.empty() || clock_.Steady() - file_token_read_ > kTokenLifetime) {
        auto text = ReadFile(token_file_, 1 << 20);
        if (text.ok() && !absl::StripAsciiWhitespace(*text).empty()) {
          file_token_ = std::string(absl::StripAsciiWhitespace(*text));
          file_token_read_ = clock_.Steady();
        } else if (file_token_.empty()) {
          if (text.ok()) co_return InvalidArgument("read token file \"", token_file_, "\": it is empty");
          co_return Annotate(text.status(), absl::StrCat("read token file \"", token_file_, "\""));
        }
      }
      headers->Set("Authorization", "Bearer " + file_token_);
    } else if (!token_.empty()) {
      headers->Set("Authorization", "Bearer " + token_);
    } else if (!basic_.empty()) {
      headers->Set("Authorization", "Basic " + basic_);
    }
    co_return absl::OkStatus();
  }
  bool Refused() override {
    file_token_.clear();
    return !token_file_.empty();
  }
  std::shared_ptr<TlsClientConfig> tls() const override { return tls_; }

 private:
  const std::string token_, token_file_;
  const std::shared_ptr<TlsClientConfig> tls_;
  Clock& clock_;
  std::string basic_, file_token_;
  SteadyTime file_token_read_;
};

// Adds whom the client acts as.
class ImpersonatingCredentials final : public Credentials {
 public:
  ImpersonatingCredentials(const Config& config, std::unique_ptr<Credentials> inner) : inner_(std::move(inner)) {
    as_.Set("Impersonate-User", config.impersonate_user);
    if (!config.impersonate_uid.empty()) as_.Set("Impersonate-Uid", config.impersonate_uid);
    for (const std::string& group : config.impersonate_groups) as_.Add("Impersonate-Group", group);
    for (const auto& [key, values] : config.impersonate_extra) {
      for (const std::string& value : values) as_.Add("Impersonate-Extra-" + http::PercentEncode(key), value);
    }
  }
  Task<Status> Authorize(http::Headers* headers) override {
    for (const auto& [name, value] : as_.fields()) headers->Remove(name);
    for (const auto& [name, value] : as_.fields()) headers->Add(name, value);
    co_return co_await inner_->Authorize(headers);
  }
  bool Refused() override { return inner_->Refused(); }
  std::shared_ptr<TlsClientConfig> tls() const override { return inner_->tls(); }

 private:
  const std::unique_ptr<Credentials> inner_;
  http::Headers as_;
};

}  // namespace

StatusOr<std::unique_ptr<Credentials>> Credentials::Make(const Config& config, Clock& clock) {
  std::unique_ptr<Credentials> out;
  if (config.exec) {
    ASSIGN_OR_RETURN(out, MakeExecCredentials(config, clock));
  } else {
    std::shared_ptr<TlsClientConfig> tls;
    if (config.server.starts_with("https://")) {
      ASSIGN_OR_RETURN(tls, TlsClientConfig::Make(config.tls));
    }
    out = std::make_unique<FixedCredentials>(config, std::move(tls), clock);
  }
  if (!config.impersonate_user.empty()) out = std::make_unique<ImpersonatingCredentials>(config, std::move(out));
  return out;
}

}  // namespace skiff::client
