#pragma once
// What is looked at before a request's body is read, so that nobody makes the server read for
// nothing.

#include <httplib.h>

#include <cstdint>

namespace hlwq::server {

// Whether a POST's headers announce a body that will be read: JSON, one length, not too long. If
// not, `response` says why. Two lengths or a length beside chunks (how requests are smuggled past
// proxies) are refused.
[[nodiscard]] bool body_is_welcome(const httplib::Request& request, uint64_t most_bytes,
                                   httplib::Response& response);
// Whether a request without a body has none.
[[nodiscard]] bool has_no_body(const httplib::Request& request);

}  // namespace hlwq::server
