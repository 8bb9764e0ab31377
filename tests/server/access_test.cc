#include "server/access.h"

#include <gtest/gtest.h>

#include "io/file.h"

namespace hlwq::server {
namespace {

httplib::Request with(const std::string& name, const std::string& value) {
  httplib::Request request;
  request.headers.emplace(name, value);
  return request;
}

TEST(Access, WantsOneOfItsKeys) {
  const Access access({"first-key-1", "second-key"}, /*loopback=*/true);
  EXPECT_TRUE(access.wants_key());
  for (const char* const value : {"Bearer first-key-1", "bearer second-key", "BEARER  second-key",
                                  "Basic YW55OnNlY29uZC1rZXk=" /* any:second-key */})
    EXPECT_TRUE(access.admits(with("Authorization", value))) << value;
  for (const char* const value :
       {"", "Bearer", "Bearer ", "Bearer first-key-", "Bearer first-key-12", "Bearer first-key-1\n",
        "first-key-1", "Basic first-key-1", "Basic ====", "Basic YW55", "Digest first-key-1"})
    EXPECT_FALSE(access.admits(with("Authorization", value))) << value;
  EXPECT_FALSE(access.admits({}));
  EXPECT_TRUE(Access({}, true).admits({}));
}

TEST(Access, ALoopbackServerWithoutKeysIsAskedForByName) {
  const Access access({}, /*loopback=*/true);
  for (const char* const host : {"localhost", "LocalHost:8000", "127.0.0.1", "127.0.0.1:80",
                                 "127.9.9.9", "[::1]", "[::1]:8000"})
    EXPECT_TRUE(access.host_is_right(with("Host", host))) << host;
  for (const char* const host : {"", "example.com", "127.0.0.1.example.com", "localhost.evil",
                                 "evil:8000", "[::2]", "127.0.0.1@evil"})
    EXPECT_FALSE(access.host_is_right(with("Host", host))) << host;
  EXPECT_TRUE(Access({"a-key-that-is"}, true).host_is_right(with("Host", "example.com")));
  EXPECT_TRUE(Access({}, false).host_is_right(with("Host", "example.com")));
}

TEST(Access, ReadsKeysFromAFile) {
  const std::string path = testing::TempDir() + "/keys";
  ASSERT_TRUE(write_file(path, "# mine\n\n  key-number-1 \r\nkey-number-2"));
  const auto keys = read_keys(path);
  ASSERT_TRUE(keys) << keys.error().message;
  EXPECT_EQ(*keys, (std::vector<std::string>{"key-number-1", "key-number-2"}));
  ASSERT_TRUE(write_file(path, "short\n"));
  EXPECT_EQ(read_keys(path).error().code, ErrorCode::kInvalidArgument);
  ASSERT_TRUE(write_file(path, "# nothing\n"));
  EXPECT_EQ(read_keys(path).error().code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(read_keys(path + ".missing"));
}

}  // namespace
}  // namespace hlwq::server
