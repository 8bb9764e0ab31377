#pragma once
// POST /v1/responses: OpenAI's newer API, for text and functions. Nothing is kept between requests.

#include <httplib.h>

#include "server/context.h"
#include "server/fields.h"

namespace hlwq::server {

void answer_response(Context& context, const OrderedJson& body, httplib::Response& response);

}  // namespace hlwq::server
