// hlwq serve: the OpenAI-compatible server with the web chat.

#include <CLI/App.hpp>
#include <memory>

#include "api/check_options.h"
#include "commands.h"
#include "option_flags.h"
#include "serving.h"

namespace hlwq::cli {
namespace {

struct ServeFlags {
  std::string model, synthetic, port_file;
  server::ServerOptions server;
  ServiceOptions service;
  EngineOptions engine;
};

int run(const ServeFlags& flags) {
  for (const Status& checked :
       {check_options(flags.server), check_options(flags.service), check_options(flags.engine)})
    if (!checked) return bad_usage(checked.error().message);
  if (flags.model.empty() == flags.synthetic.empty())
    return bad_usage("wanted a model folder or --synthetic, and not both");
  const auto server = server::Server::create(flags.server);
  if (!server) return failed(server.error());
  auto service = flags.synthetic.empty()
                     ? open_service(flags.model, flags.engine, flags.service)
                     : Service::open_synthetic(flags.synthetic, flags.engine, flags.service);
  if (!service) return failed(service.error());
  return serve(**server, std::move(*service), flags.port_file);
}

}  // namespace

void add_serve(CLI::App& app, Commands& commands) {
  CLI::App* const command =
      app.add_subcommand("serve", "Serve a model: OpenAI's API, a web chat, metrics");
  const auto flags = std::make_shared<ServeFlags>();
  command->add_option("MODEL", flags->model, "model folder")->type_name("DIR");
  command
      ->add_option("--synthetic", flags->synthetic,
                   "random weights of a known shape in place of MODEL, such as nemotron-30b-a3b; "
                   "takes and gives token ids only")
      ->type_name("SPEC");
  command
      ->add_option("--port-file", flags->port_file, "write the port to FILE once it is listened on")
      ->type_name("FILE");
  add_flags(*command, flags->server, "Server");
  add_flags(*command, flags->service, "Requests");
  add_flags(*command, flags->engine, "Engine");
  commands.add(command, [flags] { return run(*flags); });
}

}  // namespace hlwq::cli
