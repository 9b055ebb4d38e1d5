#ifndef SKIFF_PROXY_ADDRESS_TESTING_H_
#define SKIFF_PROXY_ADDRESS_TESTING_H_

#include "proxy/address.h"

namespace skiff::proxy {

inline Address A(std::string_view text) { return *ParseAddress(text); }

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_ADDRESS_TESTING_H_
