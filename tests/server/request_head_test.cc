#include "server/request_head.h"

#include <gtest/gtest.h>

#include <string>

namespace hlwq::server {
namespace {

std::string head(const std::string& line, const std::string& headers = "Host: x\r\n") {
  return line + "\r\n" + headers + "\r\n";
}

TEST(RequestHead, TakesWhatClientsSend) {
  for (const char* const headers :
       {"Host: x\r\n", "host:x\r\nAccept: */*\r\n", "Host: [::1]:8000\r\nX-A: \t\xC3\xA9 \r\n",
        "Content-Length: 5\r\nHost: x\r\nCookie:\r\n"})
    EXPECT_EQ(fault_of_head(head("GET /a?b=%20c HTTP/1.1", headers)), "") << headers;
  EXPECT_EQ(fault_of_head(head("POST / HTTP/1.0", "")), "");
}

TEST(RequestHead, RefusesWhatCanBeReadInTwoWays) {
  for (const std::string& line :
       {std::string(""), std::string("GET"), std::string("GET /"), std::string("GET / HTTP/9.9"),
        std::string("GET / HTTP/1.1 x"), std::string("GET  / HTTP/1.1"),
        std::string("G T / HTTP/1.1"), std::string("GET x HTTP/1.1"), std::string("PRI * HTTP/2.0"),
        std::string("GET /\t HTTP/1.1"), std::string("GET /\0 HTTP/1.1", 15),
        "GET /" + std::string(9000, 'a') + " HTTP/1.1"})
    EXPECT_NE(fault_of_head(head(line)), "") << line.substr(0, 40);
  for (const std::string& headers :
       {std::string("Host : x\r\n"), std::string(" Host: x\r\n"),
        std::string("Host: x\r\n folded\r\n"), std::string("Host: x\r\nA\r\n"),
        std::string("Host: x\r\n: a\r\n"), std::string("Host: x\r\nA: b\0c\r\n", 19),
        std::string("Host: x\r\nA: b\rC: d\r\n"), std::string("Host: x\r\nA: b\nC: d\r\n"),
        std::string("Host: x\r\nHost: y\r\n"), std::string("A: b\r\n"),
        std::string("Host: x\r\nA\x7F: b\r\n")})
    EXPECT_NE(fault_of_head(head("GET / HTTP/1.1", headers)), "") << headers;
}

}  // namespace
}  // namespace hlwq::server
