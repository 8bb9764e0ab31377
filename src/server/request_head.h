#pragma once
// The line and headers of a request, checked strictly before the HTTP library reads them leniently:
// what two programs read differently is how requests are smuggled past the first of them.

#include <string_view>

namespace hlwq::server {

// What is wrong with a head, its empty last line included; empty when nothing is. HTTP/1.0 and 1.1,
// lines that end in CRLF, header names of token characters right before the colon, no continued
// lines, no control characters, one Host (RFC 9112).
[[nodiscard]] std::string_view fault_of_head(std::string_view head);

}  // namespace hlwq::server
