#include "server/models.h"

#include "server/api_error.h"

namespace hlwq::server {
namespace {

nlohmann::ordered_json model_json(const Context& context) {
  return {{"id", context.model},
          {"object", "model"},
          {"created", context.created},
          {"owned_by", "hlwq"},
          {"max_model_len", context.service.engine().info().context}};
}

}  // namespace

void answer_models(Context& context, httplib::Response& response) {
  answer_json(response,
              {{"object", "list"}, {"data", nlohmann::ordered_json::array({model_json(context)})}});
}

void answer_model(Context& context, const std::string& name, httplib::Response& response) {
  if (name == context.model) return answer_json(response, model_json(context));
  answer_error(response, 404, "the model served here is called " + context.model,
               "model_not_found");
}

}  // namespace hlwq::server
