#include "server/routes.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "io/json.h"
#include "server/api_error.h"
#include "server/chat_completions.h"
#include "server/completions.h"
#include "server/models.h"
#include "server/request_checks.h"
#include "server/responses.h"
#include "server/stats_json.h"
#include "server/tokens.h"
#include "server/web_assets.h"

namespace hlwq::server {
namespace {

using httplib::Request;
using httplib::Response;
using Handled = httplib::Server::HandlerResponse;

constexpr JsonLimits kBodyLimits = {.bytes = uint64_t{1} << 32, .depth = 128};

struct GetRoute {
  const char* path;
  void (*answer)(Context& context, Response& response);
};
struct PostRoute {
  const char* path;
  void (*answer)(Context& context, const OrderedJson& body, Response& response);
};

void answer_metrics(Context& context, Response& response) {
  const HttpServer& server = *context.http;
  response.status = 200;
  response.set_content(
      context.metrics.text(context.service.stats(), server.connections(), server.refused()),
      "text/plain; version=0.0.4");
}

void answer_stats(Context& context, Response& response) {
  answer_json(response, stats_json(context));
}

void answer_health(Context& context, Response& response) {
  const std::string error = context.service.stats().error;
  answer_json(response, {{"status", error.empty() ? "ok" : "error"}});
  if (!error.empty()) response.status = 503;
}

constexpr std::array kGets = {
    GetRoute{"/health", answer_health}, GetRoute{"/metrics", answer_metrics},
    GetRoute{"/stats", answer_stats}, GetRoute{"/v1/models", answer_models}};
constexpr std::array kPosts = {
    PostRoute{"/v1/chat/completions", answer_chat}, PostRoute{"/v1/completions", answer_completion},
    PostRoute{"/v1/responses", answer_response}, PostRoute{"/tokenize", answer_tokenize},
    PostRoute{"/detokenize", answer_detokenize}};
constexpr std::string_view kModelPath = "/v1/models/", kWebPath = "/web/";

const WebAsset* web_asset(std::string_view path) {
  const std::string_view name = path == "/"                  ? "index.html"
                                : path.starts_with(kWebPath) ? path.substr(kWebPath.size())
                                                             : std::string_view();
  for (const WebAsset& asset : web_assets())
    if (asset.name == name) return &asset;
  return nullptr;
}

void answer_web(const WebAsset& asset, Response& response) {
  const std::string_view name = asset.name;
  const char* const type = name.ends_with(".html")  ? "text/html; charset=utf-8"
                           : name.ends_with(".css") ? "text/css; charset=utf-8"
                           : name.ends_with(".js")  ? "text/javascript; charset=utf-8"
                           : name.ends_with(".svg") ? "image/svg+xml"
                                                    : "application/octet-stream";
  response.status = 200;
  response.set_header("Cache-Control", "no-cache");
  response.set_header("Content-Security-Policy",
                      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src "
                      "'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
                      "frame-ancestors 'none'");
  response.set_content(asset.bytes.data(), asset.bytes.size(), type);
}

template <typename Routes>
bool has_path(const Routes& routes, std::string_view path) {
  return std::any_of(routes.begin(), routes.end(),
                     [&](const auto& route) { return route.path == path; });
}

bool is_get_path(std::string_view path) {
  return has_path(kGets, path) || path.starts_with(kModelPath) || web_asset(path) != nullptr;
}

// The path as a label of metrics: whatever is not served has one name, or a client could make up
// any number of them.
std::string route_label(const Request& request) {
  if (has_path(kGets, request.path) || has_path(kPosts, request.path)) return request.path;
  if (request.path.starts_with(kModelPath)) return std::string(kModelPath);
  return web_asset(request.path) != nullptr ? "/web" : "other";
}

// What happens before a body is read; true when the request may go on.
bool is_welcome(const Request& request, const RouteOptions& options, Response& response) {
  const bool gets = request.method == "GET" || request.method == "HEAD";
  const bool is_post = request.method == "POST";
  if (request.path != "/health" && !options.access.admits(request)) {
    // A browser that opens the page asks its user for the key, as the password of any name.
    response.set_header("WWW-Authenticate", web_asset(request.path) != nullptr
                                                ? "Basic realm=\"hlwq: any name, the key\""
                                                : "Bearer");
    answer_error(response, 401, "the API key is missing or wrong", "invalid_api_key");
    return false;
  }
  if (!options.access.host_is_right(request)) {
    answer_error(response, 403, "Host is not this machine's name");
    return false;
  }
  if (!is_get_path(request.path) && !has_path(kPosts, request.path)) {
    answer_error(response, 404, "there is nothing at " + request.path);
    return false;
  }
  if (!(gets && is_get_path(request.path)) && !(is_post && has_path(kPosts, request.path))) {
    response.set_header("Allow", is_get_path(request.path) ? "GET, HEAD" : "POST");
    answer_error(response, 405, request.method + " is not for " + request.path);
    return false;
  }
  if (is_post) return body_is_welcome(request, options.max_body, response);
  if (has_no_body(request)) return true;
  answer_error(response, 400, request.method + " has a body");
  return false;
}

void add_post(HttpServer& server, Context& context, const RouteOptions& options,
              const PostRoute& route) {
  server.Post(
      route.path, [&context, &options, answer = route.answer](const Request&, Response& response,
                                                              const httplib::ContentReader& read) {
        std::string body;
        bool fits = true;
        const bool whole = read([&](const char* data, size_t bytes) {
          fits = bytes <= options.max_body - body.size();
          if (fits) body.append(data, bytes);
          return fits;
        });
        if (!whole) HttpServer::current().close_after_answer();
        if (!fits)
          return answer_error(
              response, 413,
              "the body has more than " + std::to_string(options.max_body) + " bytes (--max-body)");
        if (!whole) return answer_error(response, 400, "the body did not come whole");
        const auto json = parse_ordered_json(body, "body", kBodyLimits);
        if (!json) return answer_error(response, json.error());
        answer(context, *json, response);
      });
}

}  // namespace

void add_routes(HttpServer& server, Context& context, const RouteOptions& options) {
  server.set_pre_routing_handler([&options](const Request& request, Response& response) {
    if (!options.cors_origin.empty()) {
      response.set_header("Access-Control-Allow-Origin", options.cors_origin);
      response.set_header("Vary", "Origin");
      if (request.method == "OPTIONS" && has_no_body(request)) {
        response.set_header("Access-Control-Allow-Methods", "GET, POST");
        response.set_header("Access-Control-Allow-Headers", "Authorization, Content-Type");
        response.set_header("Access-Control-Max-Age", "600");
        response.status = 204;
        return Handled::Handled;
      }
    }
    if (is_welcome(request, options, response)) return Handled::Unhandled;
    HttpServer::current().close_after_answer();  // a body may follow that nobody reads
    response.set_header("Connection", "close");
    return Handled::Handled;
  });
  server.set_default_headers({{"X-Content-Type-Options", "nosniff"}});
  // A client that asks before it sends its body is told what would be wrong with it.
  server.set_expect_100_continue_handler([&options](const Request& request, Response& response) {
    if (is_welcome(request, options, response)) return 100;
    HttpServer::current().close_after_answer();
    return response.status;
  });
  for (const GetRoute& route : kGets)
    server.Get(route.path, [&context, answer = route.answer](const Request&, Response& response) {
      answer(context, response);
    });
  server.Get(std::string(kModelPath) + "(.*)",
             [&context](const Request& request, Response& response) {
               answer_model(context, request.path.substr(kModelPath.size()), response);
             });
  const auto web = [](const Request& request, Response& response) {
    answer_web(*web_asset(request.path), response);
  };
  server.Get("/", web);
  server.Get(std::string(kWebPath) + ".*", web);
  for (const PostRoute& route : kPosts) add_post(server, context, options, route);
  server.set_error_handler(httplib::Server::Handler([](const Request&, Response& response) {
    // What the library refuses by itself has no body.
    if (response.body.empty() && response.status >= 400)
      answer_error(response, response.status, "the request is not HTTP that this server takes");
  }));
  server.set_exception_handler([](const Request&, Response& response, std::exception_ptr) {
    answer_error(response, 500, "internal error");
  });
  server.set_logger([&context](const Request& request, const Response& response) {
    context.metrics.count_response(route_label(request), response.status);
  });
}

}  // namespace hlwq::server
