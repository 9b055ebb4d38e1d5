#include "kubelet/resources/dbus.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace skiff::kubelet {
namespace {

constexpr size_t kLargestMessage = 1 << 20;

void Align(std::string* out, size_t to) {
  while (out->size() % to != 0) out->push_back('\0');
}

template <typename T>
void Number(std::string* out, T value) {
  Align(out, sizeof value);
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);  // little endian, as the machines that this runs on
  out->append(bytes, sizeof value);
}

void Text(std::string* out, std::string_view text) {
  Number(out, static_cast<uint32_t>(text.size()));
  out->append(text);
  out->push_back('\0');
}

void Signature(std::string* out, std::string_view signature) {
  out->push_back(static_cast<char>(signature.size()));
  out->append(signature);
  out->push_back('\0');
}

// An array's length counts from its first element on, and is known only when they are written.
template <typename Elements>
void Array(std::string* out, size_t element_alignment, Elements elements) {
  Number(out, uint32_t{0});
  const size_t length_at = out->size() - 4;
  Align(out, element_alignment);
  const size_t begin = out->size();
  elements();
  const uint32_t length = static_cast<uint32_t>(out->size() - begin);
  std::memcpy(out->data() + length_at, &length, sizeof length);
}

void Variant(std::string* out, const DbusValue& value) {
  if (const bool* b = std::get_if<bool>(&value)) {
    Signature(out, "b");
    Number(out, static_cast<uint32_t>(*b));
  } else if (const uint64_t* n = std::get_if<uint64_t>(&value)) {
    Signature(out, "t");
    Number(out, *n);
  } else if (const std::string* s = std::get_if<std::string>(&value)) {
    Signature(out, "s");
    Text(out, *s);
  } else {
    Signature(out, "as");
    Array(out, 4, [&] {
      for (const std::string& s : std::get<std::vector<std::string>>(value)) Text(out, s);
    });
  }
}

uint32_t U32(std::string_view bytes, size_t at) {
  uint32_t out = 0;
  if (at + 4 <= bytes.size()) std::memcpy(&out, bytes.data() + at, 4);
  return out;
}

// What of a message's header decides: whether it answers our call, and how.
struct Header {
  uint32_t reply_serial = 0;
  std::string error_name, signature;
};

Header ParseFields(std::string_view fields) {
  Header out;
  size_t at = 0;
  auto align = [&](size_t to) { at = (at + to - 1) / to * to; };
  while (true) {
    align(8);
    if (at + 4 > fields.size()) return out;
    const char code = fields[at];
    const uint8_t length = static_cast<uint8_t>(fields[at + 1]);
    const std::string_view type = fields.substr(at + 2, length);
    at += 2 + length + 1;
    if (type == "u") {
      align(4);
      if (code == 5) out.reply_serial = U32(fields, at);
      at += 4;
    } else if (type == "s" || type == "o") {
      align(4);
      const uint32_t size = U32(fields, at);
      at += 4;
      if (size > fields.size() || at > fields.size()) return out;
      if (code == 4) out.error_name = std::string(fields.substr(at, size));
      at += size + 1;
    } else if (type == "g") {
      if (at >= fields.size()) return out;
      const uint8_t size = static_cast<uint8_t>(fields[at]);
      if (code == 8) out.signature = std::string(fields.substr(at + 1, size));
      at += size + 2;
    } else {
      return out;
    }
  }
}

}  // namespace

DbusBody& DbusBody::Add(std::string_view text) {
  Text(&bytes_, text);
  signature_ += "s";
  return *this;
}

DbusBody& DbusBody::Add(bool value) {
  Number(&bytes_, static_cast<uint32_t>(value));
  signature_ += "b";
  return *this;
}

DbusBody& DbusBody::Add(uint32_t value) {
  Number(&bytes_, value);
  signature_ += "u";
  return *this;
}

DbusBody& DbusBody::Add(const DbusProperties& properties) {
  Array(&bytes_, 8, [&] {
    for (const auto& [name, value] : properties) {
      Align(&bytes_, 8);
      Text(&bytes_, name);
      Variant(&bytes_, value);
    }
  });
  signature_ += "a(sv)";
  return *this;
}

DbusBody& DbusBody::AddNoAuxiliaries() {
  Array(&bytes_, 8, [] {});
  signature_ += "a(sa(sv))";
  return *this;
}

std::string MarshalCall(const DbusCall& call, uint32_t serial) {
  std::string out;
  out += 'l';      // little endian
  out += char{1};  // a method call
  out += char{0};  // no flags: an answer is wanted
  out += char{1};  // protocol
  Number(&out, static_cast<uint32_t>(call.body.bytes().size()));
  Number(&out, serial);
  auto field = [&](char code, std::string_view type, std::string_view value) {
    Align(&out, 8);
    out += code;
    Signature(&out, type);
    if (type == "g") {
      Signature(&out, value);
    } else {
      Text(&out, value);
    }
  };
  Array(&out, 8, [&] {
    field(1, "o", call.path);
    field(2, "s", call.interface);
    field(3, "s", call.member);
    if (!call.destination.empty()) field(6, "s", call.destination);
    if (!call.body.signature().empty()) field(8, "g", call.body.signature());
  });
  Align(&out, 8);
  out += call.body.bytes();
  return out;
}

StatusOr<std::unique_ptr<DbusConnection>> DbusConnection::Connect(const std::string& socket_path, bool bus,
                                                                  std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) return InvalidArgument("socket path too long: ", socket_path);
  std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "socket");
  // For connect(), which waits while the other side accepts nobody.
  const timeval most{limit.count() / 1000, limit.count() % 1000 * 1000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    const int err = errno;
    std::string what = absl::StrCat("connect to ", socket_path);
    if (err == EAGAIN) return absl::DeadlineExceededError(absl::StrCat(what, ": timed out"));
    return ErrnoStatus(err, what);
  }
  std::unique_ptr<DbusConnection> out(new DbusConnection(std::move(fd), deadline));
  RETURN_IF_ERROR(out->Authenticate(), "authenticate at ", socket_path);
  if (bus) {
    RETURN_IF_ERROR(
        out->Call({"org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", DbusBody()}));
  }
  return out;
}

// All of it in one write, and then the OK: a call that systemd reads together with BEGIN lies there until more comes.
Status DbusConnection::Authenticate() {
  const std::string uid = absl::BytesToHexString(absl::StrCat(::geteuid()));
  RETURN_IF_ERROR(Write(absl::StrCat(std::string_view("\0", 1), "AUTH EXTERNAL ", uid, "\r\nBEGIN\r\n")));
  std::string line;
  while (!line.ends_with("\r\n")) {
    ASSIGN_OR_RETURN(std::string byte, Read(1));
    line += byte;
    if (line.size() > 512) return Internal("no answer to authentication");
  }
  if (!line.starts_with("OK ")) return absl::PermissionDeniedError(line.substr(0, line.size() - 2));
  return absl::OkStatus();
}

// Until there is something to do for the connection, or its time is over, however much else came meanwhile.
Status DbusConnection::Await(short events, const char* doing) {
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline_ - std::chrono::steady_clock::now()).count();
    pollfd waiting{fd_.get(), events, 0};
    const int ready = left <= 0 ? 0 : ::poll(&waiting, 1, static_cast<int>(left));
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno == EINTR) continue;
    Status s = ready < 0 ? ErrnoStatus(errno, doing) : absl::DeadlineExceededError(absl::StrCat(doing, ": timed out"));
    fd_ = Fd();
    return s;
  }
}

Status DbusConnection::Write(std::string_view data) {
  while (!data.empty()) {
    RETURN_IF_ERROR(Await(POLLOUT, "write to the bus"));
    const ssize_t n = ::send(fd_.get(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) {
      Status s = ErrnoStatus(errno, "write to the bus");
      fd_ = Fd();
      return s;
    }
    data.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

StatusOr<std::string> DbusConnection::Read(size_t n) {
  std::string out(n, '\0');
  size_t have = 0;
  while (have < n) {
    RETURN_IF_ERROR(Await(POLLIN, "read from the bus"));
    const ssize_t got = ::recv(fd_.get(), out.data() + have, n - have, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) {
      Status s =
          got == 0 ? absl::UnavailableError("the bus closed the connection") : ErrnoStatus(errno, "read from the bus");
      fd_ = Fd();
      return s;
    }
    have += static_cast<size_t>(got);
  }
  return out;
}

Status DbusConnection::Call(const DbusCall& call) {
  if (broken()) return absl::UnavailableError("not connected");
  const uint32_t serial = ++serial_;
  RETURN_IF_ERROR(Write(MarshalCall(call, serial)));
  while (true) {
    ASSIGN_OR_RETURN(const std::string start, Read(16));
    const size_t body_size = U32(start, 4), fields_size = U32(start, 12);
    if (start[0] != 'l' || body_size > kLargestMessage || fields_size > kLargestMessage) {
      fd_ = Fd();
      return Internal("malformed message from the bus");
    }
    ASSIGN_OR_RETURN(const std::string fields, Read((fields_size + 7) / 8 * 8));
    ASSIGN_OR_RETURN(const std::string body, Read(body_size));
    const Header header = ParseFields(std::string_view(fields).substr(0, fields_size));
    if (header.reply_serial != serial) continue;
    if (start[1] == 2) return absl::OkStatus();
    if (start[1] != 3) continue;
    std::string text = header.error_name;
    if (header.signature.starts_with("s") && body.size() >= 4 && U32(body, 0) <= body.size() - 4) {
      absl::StrAppend(&text, ": ", body.substr(4, U32(body, 0)));
    }
    return absl::UnknownError(text);
  }
}

}  // namespace skiff::kubelet
