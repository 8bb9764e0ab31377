#pragma once
// Who may talk to the server.

#include <httplib.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hlwq::server {

class Access {
 public:
  // `keys`: those that open it; none: no key is asked for. `loopback`: only this machine can
  // connect, so a request's Host must name it (a web page elsewhere cannot make the browser ask by
  // another name).
  Access(std::vector<std::string> keys, bool loopback)
      : keys_(std::move(keys)), loopback_(loopback) {}

  [[nodiscard]] bool wants_key() const { return !keys_.empty(); }
  // "Authorization: Bearer KEY", or Basic with the key as password (what a browser asks for). Takes
  // the same time whatever part of a key is right.
  [[nodiscard]] bool admits(const httplib::Request& request) const;
  [[nodiscard]] bool host_is_right(const httplib::Request& request) const;

 private:
  std::vector<std::string> keys_;
  bool loopback_;
};

// A key a line; empty lines and those that begin with # do not count. Errors: kIo, kInvalidArgument
// (no key, a key of fewer than 8 bytes).
[[nodiscard]] Result<std::vector<std::string>> read_keys(const std::string& path);

[[nodiscard]] bool is_loopback(std::string_view host);  // an address or name of this machine

}  // namespace hlwq::server
