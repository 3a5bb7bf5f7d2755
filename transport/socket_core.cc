#include "transport/socket_core.h"

#include <fmt/format.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/tls/tls.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "base/check.h"
#include "transport/door.h"
#include "transport/nng_address.h"
#include "transport/nng_error.h"

namespace onnx_split::transport {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct ProtocolRow {
  Protocol protocol;
  std::string_view name;
  int (*open)(nng_socket*);
  std::size_t header_bytes;  // what it puts before a body on the wire, which counts in nng's size limit
};
// Pipes are raw requests that nobody answers, not nng's push and pull: its push keeps a connection on its list of idle
// ones when the connection ends just as a message has gone out, and uses it after it was freed.
constexpr std::array kProtocols = {
    ProtocolRow{Protocol::kPush, "push socket", nng_req0_open_raw, kPipeHeaderBytes},
    ProtocolRow{Protocol::kPull, "pull socket", nng_rep0_open_raw, kPipeHeaderBytes},
    ProtocolRow{Protocol::kRequest, "request socket", nng_req0_open, sizeof(std::uint32_t)},
    ProtocolRow{Protocol::kReply, "reply socket", nng_rep0_open, sizeof(std::uint32_t)},
};

const ProtocolRow& row_of(Protocol protocol) {
  return *std::ranges::find(kProtocols, protocol, &ProtocolRow::protocol);
}

nng_duration to_nng(milliseconds timeout) {
  if (timeout.count() > std::numeric_limits<nng_duration>::max()) return NNG_DURATION_INFINITE;
  return static_cast<nng_duration>(std::max<milliseconds::rep>(timeout.count(), 0));
}

class Deadline {
 public:
  explicit Deadline(milliseconds timeout) : endless_(to_nng(timeout) == NNG_DURATION_INFINITE) {
    if (!endless_) end_ = steady_clock::now() + timeout;
  }
  nng_duration remaining() const {
    if (endless_) return NNG_DURATION_INFINITE;
    return to_nng(std::chrono::ceil<milliseconds>(end_ - steady_clock::now()));
  }

 private:
  bool endless_;
  steady_clock::time_point end_;
};

// A raw request's header: words without the top bit are hops, the one with it is the request's id and the last. Four
// words keep the body's alignment, because the receiver takes them from the front of it.
int put_pipe_header(nng_msg* message) {
  nng_msg_header_clear(message);
  for (std::size_t hops = kPipeHeaderBytes / sizeof(std::uint32_t) - 1; hops > 0; --hops) {
    if (const int result = nng_msg_header_append_u32(message, 0); result != 0) return result;
  }
  return nng_msg_header_append_u32(message, 0x80000000U);
}

// A request's own state in nng; closing it makes nng drop a reply that comes too late.
class RequestContext {
 public:
  explicit RequestContext(nng_socket socket) {
    result_ = nng_ctx_open(&context_, socket);
    if (result_ == 0) result_ = nng_ctx_set_ms(context_, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
  }
  RequestContext(const RequestContext&) = delete;
  RequestContext& operator=(const RequestContext&) = delete;
  ~RequestContext() { nng_ctx_close(context_); }
  int result() const { return result_; }
  nng_ctx get() const { return context_; }

 private:
  nng_ctx context_ = NNG_CTX_INITIALIZER;
  int result_ = 0;
};

void on_pipe(nng_pipe pipe, nng_pipe_ev event, void* argument) {
  auto& core = *static_cast<SocketCore*>(argument);
  const int connection = nng_pipe_id(pipe);
  if (event == NNG_PIPE_EV_ADD_PRE) {
    const int dialer = nng_dialer_id(nng_pipe_dialer(pipe));
    if (dialer <= 0) {
      if (const auto peer = peer_of_connection(connection)) Door::of_this_process().comes_in(*peer, connection);
    }
    core.connection_begins(connection, dialer > 0 ? dialer : -nng_listener_id(nng_pipe_listener(pipe)));
  } else if (event == NNG_PIPE_EV_ADD_POST) {
    core.connection_ready(connection);
  } else {
    core.connection_gone(connection);
  }
}

int watch_pipes(nng_socket socket, SocketCore* core) {
  for (const nng_pipe_ev event : {NNG_PIPE_EV_ADD_PRE, NNG_PIPE_EV_ADD_POST, NNG_PIPE_EV_REM_POST}) {
    if (const int result = nng_pipe_notify(socket, event, on_pipe, core); result != 0) return result;
  }
  return 0;
}

// One endpoint's configuration; nng holds it as long as it needs it.
class TlsConfig {
 public:
  TlsConfig(const Tls& tls, nng_tls_mode mode) {
    result_ = nng_tls_config_alloc(&config_, mode);
    const TlsIdentity& identity = *tls.identity;
    then(nng_tls_config_version, NNG_TLS_1_2, NNG_TLS_1_2);
    then(nng_tls_config_auth_mode, NNG_TLS_AUTH_MODE_REQUIRED);
    then(nng_tls_config_ca_chain, identity.authorities(tls.accepts).c_str(), nullptr);
    then(nng_tls_config_own_cert, identity.certificate().c_str(), identity.key().c_str(), nullptr);
    if (mode == NNG_TLS_MODE_CLIENT) then(nng_tls_config_server_name, tls.name.c_str());
  }
  TlsConfig(const TlsConfig&) = delete;
  TlsConfig& operator=(const TlsConfig&) = delete;
  ~TlsConfig() {
    if (config_ != nullptr) nng_tls_config_free(config_);
  }
  int result() const { return result_; }
  nng_tls_config* get() const { return config_; }

 private:
  template <class Set, class... Args>
  void then(Set set, Args... args) {
    if (result_ == 0) result_ = set(config_, args...);
  }

  nng_tls_config* config_ = nullptr;
  int result_ = 0;
};

Expected<void> check_tls(const Url& url, const Tls& tls, bool dials) {
  if (url.scheme != Scheme::kTlsTcp) return {};
  if (!tls.identity) return fail(ErrorCode::kInvalid, "{}: expects a certificate, a key and authorities", url.text());
  // An empty name would be no check at all.
  if (dials && tls.name.empty()) return fail(ErrorCode::kInvalid, "{}: expects the name of its owner", url.text());
  return {};
}

int set_dialer_options(nng_dialer dialer, const Url& url, const DialOptions& options, std::size_t size_limit) {
  int result = nng_dialer_set_ms(dialer, NNG_OPT_RECONNMINT, to_nng(options.reconnect_min));
  if (result == 0) result = nng_dialer_set_ms(dialer, NNG_OPT_RECONNMAXT, to_nng(options.reconnect_max));
  if (url.scheme == Scheme::kInproc) return result;
  if (result == 0) result = nng_dialer_set_size(dialer, NNG_OPT_RECVMAXSZ, size_limit);
  if (result == 0) result = nng_dialer_set_bool(dialer, NNG_OPT_TCP_NODELAY, true);
  if (result == 0) result = nng_dialer_set_bool(dialer, NNG_OPT_TCP_KEEPALIVE, true);
  if (result != 0 || url.scheme != Scheme::kTlsTcp) return result;
  const TlsConfig config(options.tls, NNG_TLS_MODE_CLIENT);
  return config.result() != 0 ? config.result() : nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, config.get());
}

int set_listener_options(nng_listener listener, const Url& url, std::size_t size_limit, const Tls& tls) {
  if (url.scheme == Scheme::kInproc) return 0;
  int result = nng_listener_set_size(listener, NNG_OPT_RECVMAXSZ, size_limit);
  if (result == 0) result = nng_listener_set_bool(listener, NNG_OPT_TCP_NODELAY, true);
  if (result == 0) result = nng_listener_set_bool(listener, NNG_OPT_TCP_KEEPALIVE, true);
  if (result != 0 || url.scheme != Scheme::kTlsTcp) return result;
  const TlsConfig config(tls, NNG_TLS_MODE_SERVER);
  return config.result() != 0 ? config.result() : nng_listener_set_ptr(listener, NNG_OPT_TLS_CONFIG, config.get());
}

// Why a background dialer has no connection. nng 1.5 tells only by counting in its statistics.
Error dial_failure(nng_dialer dialer, const std::string& url, milliseconds waited) {
  nng_stat* all = nullptr;
  const auto counted = [&](const char* what) {
    nng_stat* of_dialer = all == nullptr ? nullptr : nng_stat_find_dialer(all, dialer);
    nng_stat* stat = of_dialer == nullptr ? nullptr : nng_stat_find(of_dialer, what);
    return stat != nullptr && nng_stat_value(stat) > 0;
  };
  if (nng_stats_get(&all) != 0) all = nullptr;
  Error error{ErrorCode::kTimeout, fmt::format("no answer within {} ms", waited.count())};
  if (counted("reject") || counted("proto")) {
    error = {ErrorCode::kUnavailable, "the peer speaks another protocol"};
  } else if (counted("auth")) {
    error = {
        ErrorCode::kUnavailable,
        "the TLS handshake failed: one end doesn't accept the other's certificate (its authority, validity or name); "
        "the peer's log may say more"};
  } else if (counted("refused")) {
    error = {ErrorCode::kUnavailable, "connection refused"};
  } else if (counted("other")) {
    error = {ErrorCode::kNotFound, "host not found or unreachable"};
  }
  if (all != nullptr) nng_stats_free(all);
  return std::move(error).in(url);
}

}  // namespace

Operations::~Operations() {
  for (nng_aio* aio : idle_) nng_aio_free(aio);
}

nng_aio* Operations::take() {
  if (idle_.empty()) {
    nng_aio* aio = nullptr;
    return nng_aio_alloc(&aio, nullptr, nullptr) == 0 ? aio : nullptr;
  }
  nng_aio* aio = idle_.back();
  idle_.pop_back();
  return aio;
}

int Operations::run(std::int32_t timeout_ms, nng_msg*& message, const std::function<void(nng_aio*)>& start) {
  nng_aio* aio = nullptr;
  {
    // Started under the lock, so that stop() finds it either not begun or well under way.
    const std::lock_guard lock(mutex_);
    if (stopped_ != 0) return stopped_;
    aio = take();
    if (aio == nullptr) return NNG_ENOMEM;
    running_.push_back(aio);
    nng_aio_set_timeout(aio, timeout_ms);
    nng_aio_set_msg(aio, message);
    start(aio);
  }
  nng_aio_wait(aio);
  const std::lock_guard lock(mutex_);
  message = nng_aio_get_msg(aio);
  nng_aio_set_msg(aio, nullptr);
  const int result = nng_aio_result(aio);
  std::erase(running_, aio);
  idle_.push_back(aio);
  return result;
}

void Operations::stop(int result) {
  const std::lock_guard lock(mutex_);
  stopped_ = result;
  for (nng_aio* aio : running_) nng_aio_abort(aio, result);
}

void Operations::let_starts_end() { const std::lock_guard lock(mutex_); }

// Keeps close() from closing the nng socket while a thread is inside nng with it: nng 1.5 doesn't survive that (a
// context is freed under nng_ctx_send's feet).
class Visit {
 public:
  explicit Visit(SocketCore& core) : core_(core), admitted_(core.enter()) {}
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;
  ~Visit() {
    if (admitted_) core_.leave();
  }
  bool admitted() const { return admitted_; }

 private:
  SocketCore& core_;
  bool admitted_;
};

bool SocketCore::enter() {
  const std::lock_guard lock(mutex_);
  if (closing_) return false;
  ++visitors_;
  return true;
}

void SocketCore::leave() {
  const std::lock_guard lock(mutex_);
  --visitors_;
  changed_.notify_all();
}

Expected<std::unique_ptr<SocketCore>> SocketCore::open(Protocol protocol) {
  const ProtocolRow& row = row_of(protocol);
  nng_socket socket = NNG_SOCKET_INITIALIZER;
  if (const int result = row.open(&socket); result != 0) return tl::unexpected(nng_error(result, row.name));
  std::unique_ptr<SocketCore> core(new SocketCore(protocol, socket.id));
  if (const int result = watch_pipes(socket, core.get()); result != 0) {
    return tl::unexpected(nng_error(result, row.name));
  }
  return core;
}

SocketCore::~SocketCore() { close(); }

Expected<void> SocketCore::set_send_queue(int messages) {
  const int result = nng_socket_set_int({socket_id_}, NNG_OPT_SENDBUF, messages);
  if (result != 0) return tl::unexpected(nng_error(result, fmt::format("send queue of {} messages", messages)));
  return {};
}

std::size_t SocketCore::size_limit(std::size_t max_message_bytes) const {
  const std::size_t header_bytes = row_of(protocol_).header_bytes;
  return std::min(max_message_bytes, std::numeric_limits<std::size_t>::max() - header_bytes) + header_bytes;
}

Expected<void> SocketCore::dial(std::string_view text, const DialOptions& options) {
  TRY_ASSIGN(const Url url, parse_url(text));
  TRY(check_dialable(url));
  TRY(check_tls(url, options.tls, true));
  const std::string url_text = url.text();
  calls_outlive_connection_ = options.calls_outlive_connection;
  if (options.max_message_bytes == 0 || options.reconnect_min.count() < 1 ||
      options.reconnect_max < options.reconnect_min) {
    return fail(ErrorCode::kInvalid,
                "{}: expects max_message_bytes of at least 1 and 1 <= reconnect_min <= reconnect_max, found {}, {} ms "
                "and {} ms",
                url_text, options.max_message_bytes, options.reconnect_min.count(), options.reconnect_max.count());
  }

  const Visit visit(*this);
  if (!visit.admitted()) return tl::unexpected(nng_error(NNG_ECLOSED, url_text));
  nng_dialer dialer = NNG_DIALER_INITIALIZER;
  if (const int result = nng_dialer_create(&dialer, {socket_id_}, url_text.c_str()); result != 0) {
    return tl::unexpected(nng_error(result, url_text));
  }
  const int endpoint = nng_dialer_id(dialer);
  add_endpoint(endpoint, url_text);
  raise_limit(options.max_message_bytes);
  int result = set_dialer_options(dialer, url, options, size_limit(options.max_message_bytes));
  // A blocking start would wait as long as the system's TCP does (minutes), whatever our timeout.
  if (result == 0) result = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
  Expected<void> connected;
  if (result != 0) {
    connected = tl::unexpected(nng_error(result, url_text));
  } else if (options.connect_timeout.count() > 0) {
    connected = wait_for(options.connect_timeout, [&](const Connection& c) { return c.endpoint == endpoint; });
    if (!connected && connected.error().code == ErrorCode::kTimeout) {
      connected = tl::unexpected(dial_failure(dialer, url_text, options.connect_timeout));
    }
  }
  if (!connected) {
    nng_dialer_close(dialer);
    remove_endpoint(endpoint);
  }
  return connected;
}

Expected<std::string> SocketCore::listen(std::string_view text, std::size_t max_message_bytes, const Tls& tls) {
  TRY_ASSIGN(Url url, parse_url(text));
  TRY(check_tls(url, tls, false));
  if (max_message_bytes == 0) {
    return fail(ErrorCode::kInvalid, "{}: expects max_message_bytes of at least 1, found 0", url.text());
  }

  const Visit visit(*this);
  if (!visit.admitted()) return tl::unexpected(nng_error(NNG_ECLOSED, url.text()));
  nng_listener listener = NNG_LISTENER_INITIALIZER;
  if (const int result = nng_listener_create(&listener, {socket_id_}, url.text().c_str()); result != 0) {
    return tl::unexpected(nng_error(result, url.text()));
  }
  const int endpoint = -nng_listener_id(listener);
  add_endpoint(endpoint, url.text());
  raise_limit(max_message_bytes);
  int result = set_listener_options(listener, url, size_limit(max_message_bytes), tls);
  if (result == 0) result = nng_listener_start(listener, 0);
  int port = 0;
  if (result == 0 && url.scheme != Scheme::kInproc) {
    result = nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port);
  }
  if (result != 0) {
    nng_listener_close(listener);
    remove_endpoint(endpoint);
    return tl::unexpected(nng_error(result, url.text()));
  }
  url.port = static_cast<std::uint16_t>(port);
  add_endpoint(endpoint, url.text());
  return url.text();
}

void SocketCore::add_endpoint(int endpoint, std::string url) {
  const std::lock_guard lock(mutex_);
  endpoint_urls_.insert_or_assign(endpoint, std::move(url));
}

void SocketCore::remove_endpoint(int endpoint) {
  const std::lock_guard lock(mutex_);
  endpoint_urls_.erase(endpoint);
}

void SocketCore::raise_limit(std::size_t max_message_bytes) {
  const std::lock_guard lock(mutex_);
  max_message_bytes_ = std::max(max_message_bytes_.load(), max_message_bytes);
}

Expected<void> SocketCore::wait_for(milliseconds timeout, const std::function<bool(const Connection&)>& wanted) {
  std::unique_lock lock(mutex_);
  const auto done = [&] {
    return closing_ || std::ranges::any_of(
                           connections_, [&](const auto& entry) { return entry.second.ready && wanted(entry.second); });
  };
  if (to_nng(timeout) == NNG_DURATION_INFINITE) {
    changed_.wait(lock, done);
  } else {
    changed_.wait_for(lock, timeout, done);
  }
  const bool connected = done();
  const bool closing = closing_;
  lock.unlock();
  if (closing) return tl::unexpected(nng_error(NNG_ECLOSED, name()));
  if (!connected) return fail(ErrorCode::kTimeout, "{}: no connection within {} ms", name(), timeout.count());
  return {};
}

Expected<void> SocketCore::wait_connected(milliseconds timeout) {
  return wait_for(timeout, [](const Connection&) { return true; });
}

std::size_t SocketCore::connections() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(
      std::ranges::count_if(connections_, [](const auto& entry) { return entry.second.ready; }));
}

void SocketCore::on_disconnect(std::function<void(const std::string& url)> callback) {
  const std::lock_guard lock(mutex_);
  disconnected_ = std::move(callback);
}

void SocketCore::connection_begins(int connection, int endpoint) {
  const std::lock_guard lock(mutex_);
  connections_[connection] = {endpoint, false};
}

void SocketCore::connection_ready(int connection) {
  const std::lock_guard lock(mutex_);
  // It may have gone already: nng announces that on another thread.
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  found->second.ready = true;
  changed_.notify_all();
}

void SocketCore::connection_gone(int connection) {
  operations_.let_starts_end();
  std::unique_lock lock(mutex_);
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  if (!found->second.ready && found->second.endpoint < 0 && !closing_) {
    lock.unlock();
    Door::of_this_process().is_sent_away(connection, "it speaks another protocol, or left at once");
    lock.lock();
  }
  const bool was_ready = std::exchange(found->second.ready, false);
  if (was_ready && protocol_ == Protocol::kRequest && !calls_outlive_connection_) operations_.stop(NNG_ECONNRESET);
  if (was_ready && !closing_ && disconnected_) {
    const auto callback = disconnected_;
    const auto entry = endpoint_urls_.find(found->second.endpoint);
    const std::string url = entry == endpoint_urls_.end() ? "" : entry->second;
    lock.unlock();
    callback(url);
    lock.lock();
  }
  // Last and under the lock: it is what close() waits for.
  connections_.erase(connection);
  changed_.notify_all();
}

Expected<void> SocketCore::send(Message& message, milliseconds timeout) {
  if (!message.valid()) return fail(ErrorCode::kInvalid, "{}: expects a message to send, found none", name());
  const std::size_t size_bytes = message.size();
  const Visit visit(*this);
  if (!visit.admitted()) return tl::unexpected(nng_error(NNG_ECLOSED, name()));
  if (protocol_ == Protocol::kPush) {
    if (const int result = put_pipe_header(message.message_); result != 0) return tl::unexpected(error(result, ""));
  }
  const int result =
      operations_.run(to_nng(timeout), message.message_, [&](nng_aio* aio) { nng_send_aio({socket_id_}, aio); });
  if (result != 0) return tl::unexpected(error(result, "not sent in time"));
  count_sent(size_bytes);
  return {};
}

Expected<Message> SocketCore::receive(milliseconds timeout) {
  const Deadline deadline(timeout);
  const Visit visit(*this);
  if (!visit.admitted()) return tl::unexpected(nng_error(NNG_ECLOSED, name()));
  for (;;) {
    Message message;
    const int result =
        operations_.run(deadline.remaining(), message.message_, [&](nng_aio* aio) { nng_recv_aio({socket_id_}, aio); });
    if (result != 0) return tl::unexpected(error(result, "no message in time"));
    if (protocol_ == Protocol::kPull) nng_msg_header_clear(message.message_);
    if (admits(message)) return message;
  }
}

Expected<Message> SocketCore::call(Message& request, milliseconds timeout) {
  if (!request.valid()) return fail(ErrorCode::kInvalid, "{}: expects a request to send, found none", name());
  const std::size_t size_bytes = request.size();
  const Deadline deadline(timeout);
  const Visit visit(*this);
  if (!visit.admitted()) return tl::unexpected(nng_error(NNG_ECLOSED, name()));
  const RequestContext context({socket_id_});
  if (context.result() != 0) return tl::unexpected(error(context.result(), ""));
  int result =
      operations_.run(deadline.remaining(), request.message_, [&](nng_aio* aio) { nng_ctx_send(context.get(), aio); });
  if (result != 0) {
    // nng may have written its request id before it gave the message back.
    if (request.valid()) nng_msg_header_clear(request.message_);
    return tl::unexpected(error(result, "request not sent in time"));
  }
  count_sent(size_bytes);
  Message reply;
  result =
      operations_.run(deadline.remaining(), reply.message_, [&](nng_aio* aio) { nng_ctx_recv(context.get(), aio); });
  if (result != 0) return tl::unexpected(error(result, "no reply in time"));
  if (!admits(reply)) return tl::unexpected(nng_error(NNG_ECONNRESET, name()));
  return reply;
}

void SocketCore::refuse(int connection, std::string_view reason) {
  const Visit visit(*this);
  if (!visit.admitted()) return;
  Door::of_this_process().is_sent_away(connection, reason);
  nng_pipe_close({static_cast<std::uint32_t>(connection)});
}

bool SocketCore::admits(const Message& message) {
  // Over TCP nng has seen to this already; inproc knows no limit.
  if (message.size() > max_message_bytes_) {
    nng_pipe_close(nng_msg_get_pipe(message.message_));
    return false;
  }
  messages_received_ += 1;
  bytes_received_ += message.size();
  return true;
}

void SocketCore::count_sent(std::size_t size_bytes) {
  messages_sent_ += 1;
  bytes_sent_ += size_bytes;
}

Counters SocketCore::counters() const { return {messages_sent_, bytes_sent_, messages_received_, bytes_received_}; }

bool SocketCore::closing() const {
  const std::lock_guard lock(mutex_);
  return closing_;
}

std::string SocketCore::name() const {
  const std::lock_guard lock(mutex_);
  if (endpoint_urls_.size() == 1) return endpoint_urls_.begin()->second;
  return fmt::format("{} with {} addresses", row_of(protocol_).name, endpoint_urls_.size());
}

Error SocketCore::error(int nng_code, std::string_view timeout_text) const {
  // Our own close may look to nng like the peer's.
  if (closing()) return nng_error(NNG_ECLOSED, name());
  if (nng_code != NNG_ETIMEDOUT) return nng_error(nng_code, name());
  const std::string_view why = connections() == 0 ? ": no connection" : "";
  return {ErrorCode::kTimeout, fmt::format("{}: {}{}", name(), timeout_text, why)};
}

void SocketCore::close() {
  std::unique_lock lock(mutex_);
  if (closing_) {
    changed_.wait(lock, [&] { return closed_; });
    return;
  }
  closing_ = true;
  changed_.notify_all();
  lock.unlock();
  operations_.stop(NNG_ECLOSED);
  lock.lock();
  changed_.wait(lock, [&] { return visitors_ == 0; });
  lock.unlock();
  nng_close({socket_id_});
  lock.lock();
  // nng may announce the end of a connection after nng_close has returned, and we must still be here then.
  changed_.wait(lock, [&] { return connections_.empty(); });
  closed_ = true;
  changed_.notify_all();
}

}  // namespace onnx_split::transport
