#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/identity.h"
#include "transport/certificates.h"

namespace onnx_split {
namespace {

namespace fs = std::filesystem;
using transport::Certificate;

struct Options {
  std::string folder = "certs";
  std::string name;  // empty: init
  unsigned days = static_cast<unsigned>(transport::kCertificateLife.count());
};

// The folder and in it NAME/cert.pem, NAME/key.pem and NAME/ca.pem for each program that takes part; the authorities'
// own files lie beside them and never leave this machine.
constexpr const char* kCoordinators = "coordinators-ca";
constexpr const char* kDevices = "devices-ca";
constexpr const char* kCoordinator = "coordinator";

Expected<void> make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (!error) fs::permissions(path, fs::perms::owner_all, error);
  if (error) return fail(ErrorCode::kIo, "{}: {}", path.string(), error.message());
  return {};
}

Expected<void> write_pair(const Certificate& made, const fs::path& certificate, const fs::path& key) {
  TRY(write_private_file(key, made.key));
  return write_file(certificate, made.certificate);
}

Expected<Certificate> read_authority(const fs::path& folder, const std::string& name) {
  Certificate authority;
  TRY_ASSIGN(authority.certificate, read_file(folder / (name + ".pem")));
  TRY_ASSIGN(authority.key, read_file(folder / (name + ".key")));
  return authority;
}

// A new key and certificate in a folder of its own.
Expected<void> add(const Options& options, const std::string& name, const char* authority_name) {
  const fs::path folder = options.folder;
  TRY_ASSIGN(const Certificate authority, read_authority(folder, authority_name));
  TRY_ASSIGN(const std::string authorities, read_file(folder / kAuthoritiesFile));
  TRY_ASSIGN(const Certificate made,
             transport::make_certificate(name, authority, std::chrono::days(static_cast<int>(options.days))));
  const fs::path own = folder / name;
  if (fs::exists(own)) return fail(ErrorCode::kInvalid, "{} is there already", own.string());
  TRY(make_folder(own));
  TRY(write_pair(made, own / kCertificateFile, own / kKeyFile));
  return write_file(own / kAuthoritiesFile, authorities);
}

Expected<void> init(const Options& options) {
  const fs::path folder = options.folder;
  if (fs::exists(folder / kAuthoritiesFile)) {
    return fail(ErrorCode::kInvalid,
                "{} is there already; remove the folder to begin anew, and every certificate with it",
                (folder / kAuthoritiesFile).string());
  }
  TRY(make_folder(folder));
  std::string authorities;
  for (const auto& [file, name] :
       {std::pair{kCoordinators, transport::kCoordinatorAuthority}, std::pair{kDevices, transport::kDeviceAuthority}}) {
    TRY_ASSIGN(const Certificate made,
               transport::make_authority(name, std::chrono::days(static_cast<int>(options.days))));
    TRY(write_pair(made, folder / (std::string(file) + ".pem"), folder / (std::string(file) + ".key")));
    authorities += made.certificate;
  }
  TRY(write_file(folder / kAuthoritiesFile, authorities));
  return add(options, kCoordinator, kCoordinators);
}

Expected<void> run(const Options& options, const CommonOptions& common) {
  if (options.name.empty()) {
    TRY(init(options));
    if (!common.quiet) {
      fmt::print(stderr,
                 "{0}: authorities, and the coordinator's certificate. Keep it on this machine; for each device:\n"
                 "  onnx-split certs add NAME{1}\n",
                 options.folder, options.folder == "certs" ? "" : " -o " + options.folder);
    }
    return {};
  }
  if (options.name == kCoordinator) {
    return fail(ErrorCode::kInvalid, "\"{}\" is the coordinator's own name", options.name);
  }
  TRY(add(options, options.name, kDevices));
  if (!common.quiet) {
    fmt::print(
        stderr,
        "Copy {0}/{1} to the device (and nothing else of {0}), and start there\n"
        "  onnx-split-runner --listen tls+tcp://ADDRESS:7070 --name {1} --tls-cert {2} --tls-key {3} --tls-ca {4}\n"
        "In the cluster file its name is {1} and its address tls+tcp://ADDRESS:7070.\n",
        options.folder, options.name, kCertificateFile, kKeyFile, kAuthoritiesFile);
  }
  return {};
}

}  // namespace

Command add_certs(CLI::App& program, const CommonOptions& common) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("certs", "make certificates for mutual TLS");
  command->require_subcommand(1);
  command->footer("Example:\n  onnx-split certs init && onnx-split certs add pi1");
  CLI::App* init_command = command->add_subcommand("init", "two authorities, and the coordinator's certificate");
  CLI::App* add_command = command->add_subcommand("add", "a device's certificate");
  for (CLI::App* sub : {init_command, add_command}) {
    sub->add_option("-o,--output", options->folder, "folder of the authorities")
        ->type_name("DIR")
        ->capture_default_str();
    sub->add_option("--days", options->days, "how long the new certificates are valid")
        ->type_name("N")
        ->check(CLI::Range(1, 36500))
        ->capture_default_str();
  }
  init_command->footer("Example:\n  onnx-split certs init");
  add_command->add_option("NAME", options->name, "the device's name in the cluster file")->required();
  add_command->footer("Example:\n  onnx-split certs add pi1");
  return [options, &common] { return run(*options, common); };
}

}  // namespace onnx_split
