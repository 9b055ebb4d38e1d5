// Names of the other side's verified certificate. Internal to base.
#ifndef SKIFF_BASE_TLS_PEER_H_
#define SKIFF_BASE_TLS_PEER_H_

#include <string>
#include <vector>

struct ssl_st;

namespace skiff {

// False if there is no certificate, or if it was not verified.
bool ReadPeerNames(ssl_st* ssl, std::string* common_name, std::vector<std::string>* organizations);

}  // namespace skiff

#endif  // SKIFF_BASE_TLS_PEER_H_
