// Requests as bytes. Pure, thread-safe.
#ifndef SKIFF_CRI_ENCODE_H_
#define SKIFF_CRI_ENCODE_H_

#include <string>

#include "base/status.h"
#include "google/protobuf/message.h"

namespace skiff::cri {

// kInternal, in grpc-go's words and with the field's name, for a string that is no UTF-8. Protobuf's own C++ would let
// it through, and a runtime that takes it (containerd 1.6: gogo) would give it back in every list from then on, which
// then cannot be read.
StatusOr<std::string> Encode(const google::protobuf::Message& message);

}  // namespace skiff::cri

#endif  // SKIFF_CRI_ENCODE_H_
