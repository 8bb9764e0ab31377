#pragma once
// GET /v1/models and /v1/models/NAME.

#include <httplib.h>

#include <string>

#include "server/context.h"

namespace hlwq::server {

void answer_models(Context& context, httplib::Response& response);
// Errors: 404 for another name than the model has.
void answer_model(Context& context, const std::string& name, httplib::Response& response);

}  // namespace hlwq::server
