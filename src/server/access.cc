#include "server/access.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>

#include "io/file.h"
#include "server/ascii.h"

namespace hlwq::server {
namespace {

constexpr size_t kMostKeyFile = size_t{1} << 20, kLeastKey = 8;

using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

Digest digest_of(std::string_view text) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return digest;
}

// Empty when it is not base64.
std::string from_base64(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0 || text.size() > 8192) return {};
  std::string out(text.size() / 4 * 3, '\0');
  const int bytes = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                    reinterpret_cast<const unsigned char*>(text.data()),
                                    static_cast<int>(text.size()));
  if (bytes < 0) return {};
  const auto padding = static_cast<size_t>(std::count(text.end() - 2, text.end(), '='));
  out.resize(static_cast<size_t>(bytes) - padding);
  return out;
}

std::string_view trimmed(std::string_view line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t'))
    line.remove_suffix(1);
  while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
  return line;
}

std::string key_of(const httplib::Request& request) {
  const std::string header = request.get_header_value("Authorization");
  const size_t space = header.find(' ');
  if (space == std::string::npos) return {};
  const std::string scheme = lower(header.substr(0, space));
  const std::string_view credentials = trimmed(std::string_view(header).substr(space + 1));
  if (scheme == "bearer") return std::string(credentials);
  if (scheme != "basic") return {};
  const std::string pair = from_base64(credentials);
  const size_t colon = pair.find(':');
  return colon == std::string::npos ? std::string() : pair.substr(colon + 1);
}

}  // namespace

bool Access::admits(const httplib::Request& request) const {
  if (keys_.empty()) return true;
  // Digests have one length, and all of them are compared.
  const Digest given = digest_of(key_of(request));
  bool is_right = false;
  for (const std::string& key : keys_) {
    const Digest wanted = digest_of(key);
    const bool same = CRYPTO_memcmp(given.data(), wanted.data(), wanted.size()) == 0;
    is_right = is_right || same;
  }
  return is_right;
}

bool Access::host_is_right(const httplib::Request& request) const {
  if (!loopback_ || wants_key()) return true;
  std::string host = request.get_header_value("Host");
  const size_t bracket = host.rfind(']');
  const size_t colon = host.rfind(':');
  if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket))
    host.resize(colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  return is_loopback(host);
}

Result<std::vector<std::string>> read_keys(const std::string& path) {
  HLWQ_TRY_ASSIGN(const std::string text, read_text_file(path, kMostKeyFile));
  std::vector<std::string> keys;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = trimmed(std::string_view(text).substr(begin, end - begin));
    begin = end + 1;
    if (line.empty() || line.front() == '#') continue;
    if (line.size() < kLeastKey)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: key {} has {} bytes, wanted at least {}", path, keys.size() + 1,
                              line.size(), kLeastKey));
    keys.emplace_back(line);
  }
  if (keys.empty())
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}: there is no key in it", path));
  return keys;
}

bool is_loopback(std::string_view host) {
  const std::string name = lower(std::string(host));
  if (name == "localhost") return true;
  in6_addr v6;
  if (inet_pton(AF_INET6, name.c_str(), &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
  in_addr v4;
  return inet_pton(AF_INET, name.c_str(), &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}

}  // namespace hlwq::server
