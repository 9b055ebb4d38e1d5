// The service proxy as a whole: watches Services, EndpointSlices and its Node, keeps the maps in step, serves health
// and metrics. Loop thread only.
#ifndef SKIFF_PROXY_PROXY_H_
#define SKIFF_PROXY_PROXY_H_

#include <memory>
#include <string>

#include "client/rest.h"
#include "proxy/config.h"
#include "proxy/data_path.h"
#include "proxy/path_settings.h"
#include "proxy/reconcile.h"

namespace skiff::proxy {

struct ProxyOptions {
  Config config;
  api::FeatureGates gates;
  std::string config_file;                                 // ends the proxy when it is written to; "": there is none
  std::vector<std::pair<std::string, std::string>> flags;  // for /flagz
  bool take_over = true;                                   // remove the rules of another kube-proxy
  std::string node_name;
  // Names of the devices that take traffic from outside; empty: chosen (SelectDevices).
  std::vector<std::string> packet_devices;
  PathOptions path;
  BalancingOptions balancing;
};

// Until cancelled (then kCancelled; the data path goes on), until something at start fails for good, or until the
// configuration file is written to.
Task<Status> RunProxy(asio::any_io_executor executor, std::shared_ptr<client::Rest> rest, DataPath& data_path,
                      ProxyOptions options);

}  // namespace skiff::proxy

#endif  // SKIFF_PROXY_PROXY_H_
