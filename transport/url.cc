#include "transport/url.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace onnx_split::transport {
namespace {

struct SchemeRow {
  Scheme scheme;
  std::string_view name;
};
constexpr std::array kSchemes = {
    SchemeRow{Scheme::kInproc, "inproc"},
    SchemeRow{Scheme::kTcp, "tcp"},
    SchemeRow{Scheme::kTlsTcp, "tls+tcp"},
};

const SchemeRow& row_of(Scheme scheme) { return *std::ranges::find(kSchemes, scheme, &SchemeRow::scheme); }

// nng keeps addresses in fields of 128 bytes.
constexpr std::size_t kMaxNameLength = 100;

bool is_letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

bool is_ipv6(const std::string& host) {
  in6_addr address;
  return inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

bool is_host(const std::string& host) {
  if (host == "*") return true;
  return !host.empty() && host.size() <= kMaxNameLength &&
         std::ranges::all_of(host, [](char c) { return is_letter_or_digit(c) || c == '.' || c == '-' || c == '_'; });
}

Expected<Url> parse_inproc(std::string_view text, std::string_view name) {
  const bool good = !name.empty() && name.size() <= kMaxNameLength &&
                    std::ranges::all_of(name, [](char c) { return c > ' ' && c < 0x7f; });
  if (!good) {
    return fail(ErrorCode::kInvalid, "\"{}\": expects inproc:// and a name of 1 to {} visible ASCII characters", text,
                kMaxNameLength);
  }
  return Url{Scheme::kInproc, std::string(name), 0};
}

Expected<Url> parse_host_port(std::string_view text, Scheme scheme, std::string_view rest) {
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) {
    return fail(ErrorCode::kInvalid, "\"{}\": expects {}://host:port, found no port", text, row_of(scheme).name);
  }
  const std::string_view digits = rest.substr(colon + 1);
  Url url{scheme, std::string(rest.substr(0, colon)), 0};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), url.port);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
    return fail(ErrorCode::kInvalid, "\"{}\": expects a port from 0 to 65535, found \"{}\"", text, digits);
  }
  const bool bracketed = url.host.size() > 2 && url.host.front() == '[' && url.host.back() == ']';
  if (bracketed) url.host = url.host.substr(1, url.host.size() - 2);
  if (bracketed ? !is_ipv6(url.host) : !is_host(url.host)) {
    return fail(ErrorCode::kInvalid,
                "\"{}\": expects a host name, an IPv4 address, an IPv6 address in brackets or *, found \"{}\"", text,
                rest.substr(0, colon));
  }
  return url;
}

}  // namespace

std::string Url::text() const {
  const std::string_view name = row_of(scheme).name;
  if (scheme == Scheme::kInproc) return fmt::format("{}://{}", name, host);
  if (host.find(':') != std::string::npos) return fmt::format("{}://[{}]:{}", name, host, port);
  return fmt::format("{}://{}:{}", name, host, port);
}

Expected<Url> parse_url(std::string_view text) {
  constexpr std::string_view kSeparator = "://";
  const std::size_t separator = text.find(kSeparator);
  if (separator == std::string_view::npos) {
    return fail(ErrorCode::kInvalid, "\"{}\": expects a URL such as tcp://192.168.1.5:7000", text);
  }
  const auto row = std::ranges::find(kSchemes, text.substr(0, separator), &SchemeRow::name);
  if (row == kSchemes.end()) {
    return fail(ErrorCode::kUnsupported, "\"{}\": expects inproc://, tcp:// or tls+tcp://, found {}://", text,
                text.substr(0, separator));
  }
  const std::string_view rest = text.substr(separator + kSeparator.size());
  return row->scheme == Scheme::kInproc ? parse_inproc(text, rest) : parse_host_port(text, row->scheme, rest);
}

Expected<void> check_dialable(const Url& url) {
  if (url.scheme != Scheme::kInproc && url.host == "*") {
    return fail(ErrorCode::kInvalid, "{}: expects a host to connect to", url.text());
  }
  if (url.scheme != Scheme::kInproc && url.port == 0) {
    return fail(ErrorCode::kInvalid, "{}: expects a port from 1 to 65535 to connect to", url.text());
  }
  return {};
}

bool is_loopback(const Url& url) {
  if (url.scheme == Scheme::kInproc || url.host == "localhost") return true;
  in_addr v4;
  if (inet_pton(AF_INET, url.host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == IN_LOOPBACKNET;
  in6_addr v6;
  return inet_pton(AF_INET6, url.host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool is_loopback(std::string_view url) {
  const Expected<Url> parsed = parse_url(url);
  return parsed && is_loopback(*parsed);
}

}  // namespace onnx_split::transport
