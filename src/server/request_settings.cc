#include "server/request_settings.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>

namespace hlwq::server {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 40;

// The first of several names for one thing that is there.
std::string_view name_used(const Fields& fields, std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names)
    if (fields.find(name) != nullptr) return name;
  return *names.begin();
}

Status read_stop(const Fields& fields, std::vector<std::string>& stop) {
  const OrderedJson* const value = fields.find("stop");
  if (value == nullptr) return {};
  const auto add = [&](const OrderedJson& text) -> Status {
    if (!text.is_string() || text.get_ref<const std::string&>().empty() ||
        text.get_ref<const std::string&>().size() > kMostStopBytes)
      return fields.wrong("stop", text, fmt::format("strings of 1 to {} bytes", kMostStopBytes));
    stop.push_back(text.get<std::string>());
    return {};
  };
  if (value->is_string()) return add(*value);
  if (!value->is_array() || value->size() > kMostStops)
    return fields.wrong("stop", *value,
                        fmt::format("a string or an array of at most {}", kMostStops));
  for (const OrderedJson& text : *value) HLWQ_TRY(add(text));
  return {};
}

Status read_logit_bias(const Fields& fields, std::vector<std::pair<int32_t, float>>& biases) {
  const OrderedJson* const value = fields.find("logit_bias");
  if (value == nullptr) return {};
  if (!value->is_object() || value->size() > kMostBiases)
    return fields.wrong("logit_bias", *value,
                        fmt::format("an object of at most {} token ids", kMostBiases));
  for (const auto& [key, bias] : value->items()) {
    int32_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0)
      return fields.wrong("logit_bias", OrderedJson(key), "token ids as keys");
    const double number =
        bias.is_number() ? bias.get<double>() : std::numeric_limits<double>::quiet_NaN();
    if (!(number >= -100 && number <= 100))
      return fields.wrong("logit_bias", bias, "numbers from -100 to 100");
    biases.emplace_back(id, static_cast<float>(number));
  }
  return {};
}

}  // namespace

Result<RequestSettings> read_settings(const Fields& fields) {
  RequestSettings out;
  ServiceRequest& request = out.request;
  HLWQ_TRY_ASSIGN(request.max_tokens,
                  fields.integer(name_used(fields, {"max_completion_tokens", "max_tokens",
                                                    "max_output_tokens"}),
                                 1, kMostTokens));
  SamplingOptions& sampling = request.sampling;
  HLWQ_TRY_ASSIGN(sampling.temperature, fields.number("temperature", 0, 100));
  HLWQ_TRY_ASSIGN(sampling.top_p, fields.number("top_p", 0, 1));
  HLWQ_TRY_ASSIGN(sampling.top_k, fields.integer("top_k", -1, 1 << 30));
  if (sampling.top_k == -1) sampling.top_k = 0;  // as others write "all"
  HLWQ_TRY_ASSIGN(sampling.min_p, fields.number("min_p", 0, 1));
  HLWQ_TRY_ASSIGN(
      sampling.repeat_penalty,
      fields.number(name_used(fields, {"repetition_penalty", "repeat_penalty"}), 0.01, 100));
  HLWQ_TRY_ASSIGN(sampling.seed, fields.integer("seed", INT64_MIN, INT64_MAX));
  if (sampling.seed) *sampling.seed &= kSeedBits;
  HLWQ_TRY_ASSIGN(const auto presence, fields.number("presence_penalty", -2, 2));
  request.presence_penalty = presence.value_or(0);
  HLWQ_TRY_ASSIGN(const auto frequency, fields.number("frequency_penalty", -2, 2));
  request.frequency_penalty = frequency.value_or(0);
  HLWQ_TRY(read_stop(fields, request.stop));
  HLWQ_TRY(read_logit_bias(fields, request.logit_bias));
  HLWQ_TRY_ASSIGN(const auto ignore_eos, fields.boolean("ignore_eos"));
  request.ignore_stop_ids = ignore_eos.value_or(false);
  HLWQ_TRY_ASSIGN(const auto choices, fields.integer("n", 1, kMostChoices));
  out.choices = choices.value_or(1);
  HLWQ_TRY_ASSIGN(const auto stream, fields.boolean("stream"));
  out.stream = stream.value_or(false);
  if (const OrderedJson* const options = fields.find("stream_options")) {
    HLWQ_TRY_ASSIGN(const Fields of_stream, Fields::of(*options, "stream_options."));
    HLWQ_TRY_ASSIGN(const auto usage, of_stream.boolean("include_usage"));
    out.stream_usage = usage.value_or(false);
  }
  HLWQ_TRY_ASSIGN(const auto model, fields.text("model"));
  out.model = model.value_or("");
  return out;
}

}  // namespace hlwq::server
