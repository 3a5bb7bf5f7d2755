// Repairs nng 1.5 (Debian bookworm's), with functions that the linker puts in the place of nng's own (see
// CMakeLists.txt).
#include <nng/nng.h>

#include <map>
#include <mutex>

extern "C" {

void nni_aio_finish_error(nng_aio* aio, int nng_code);
int nni_aio_result(nng_aio* aio);
void nni_sleep_aio(nng_duration ms, nng_aio* aio);

// nng's close may otherwise never return (github.com/nanomsg/nng: issue 616, pull request 1636, mended in 1.6). When a
// connection is closed between two pieces of a message, nng starts the next piece on an operation that is stopped
// already; nni_aio_begin refuses that without calling the operation's callback, and whoever waits for the message waits
// for ever: nng's only reaper thread, and with it every later close in the process. So a refusal is reported to the
// callback here, as other versions of nng do.
int __real_nni_aio_begin(nng_aio* aio);
int __wrap_nni_aio_begin(nng_aio* aio);
int __wrap_nni_aio_begin(nng_aio* aio) {
  const int result = __real_nni_aio_begin(aio);
  if (result != 0) nni_aio_finish_error(aio, result);
  return result;
}
}

// nng clears the memory of a message's body, which then is filled: where the memory was used before, that takes as long
// as writing it once more. (Whoever asks for a message here is told that it isn't cleared, and nng gives one that it
// receives to nobody before it is full.)
namespace {

constexpr std::size_t kLargeBytes = 4096;  // more than what belongs to a message beside its body
thread_local bool is_allocating_message = false;

}  // namespace

extern "C" {

void* nni_alloc(std::size_t bytes);

int __real_nni_msg_alloc(nng_msg** message, std::size_t bytes);
int __wrap_nni_msg_alloc(nng_msg** message, std::size_t bytes);
int __wrap_nni_msg_alloc(nng_msg** message, std::size_t bytes) {
  is_allocating_message = true;
  const int result = __real_nni_msg_alloc(message, bytes);
  is_allocating_message = false;
  return result;
}

void* __real_nni_zalloc(std::size_t bytes);
void* __wrap_nni_zalloc(std::size_t bytes);
void* __wrap_nni_zalloc(std::size_t bytes) {
  return is_allocating_message && bytes >= kLargeBytes ? nni_alloc(bytes) : __real_nni_zalloc(bytes);
}
}

// A listener of nng's stops accepting for good when a handshake ends with "closed" or "cancelled", which it takes for
// its own end; a peer can bring that about by resetting its connection right after a TLS handshake. After most other
// failures of a peer's it pauses for 100 ms, which all others wait. So the callback of its accepting is called only for
// successes and for want of memory or descriptors; after anything else it goes on, by way of its own timer. (If the
// listener is closing, that timer is stopped, and nothing happens.)
namespace {

using Callback = void (*)(void*);

struct Listener {
  nng_aio* accepting = nullptr;
  nng_aio* timer = nullptr;
  Callback accepted = nullptr;
  void* argument = nullptr;
};

std::mutex listeners_mutex;
// By the operation that accepts; never destroyed, because nng's threads may outlive it.
std::map<nng_aio*, Listener>& listeners = *new std::map<nng_aio*, Listener>();

// What nni_listener_create makes on this thread: its first operation accepts, its second is the timer.
thread_local bool is_creating = false;
thread_local Listener* created = nullptr;

void on_accept(void* argument) {
  const auto& listener = *static_cast<const Listener*>(argument);
  switch (nni_aio_result(listener.accepting)) {
    case 0:
    case NNG_ENOMEM:
    case NNG_ENOFILES: return listener.accepted(listener.argument);
    default: return nni_sleep_aio(1, listener.timer);
  }
}

}  // namespace

extern "C" {

struct nni_listener;
struct nni_sock;

int __real_nni_listener_create(nni_listener** listener, nni_sock* socket, const char* url);
int __wrap_nni_listener_create(nni_listener** listener, nni_sock* socket, const char* url);
int __wrap_nni_listener_create(nni_listener** listener, nni_sock* socket, const char* url) {
  is_creating = true;
  created = nullptr;
  const int result = __real_nni_listener_create(listener, socket, url);
  is_creating = false;
  return result;
}

void __real_nni_aio_init(nng_aio* aio, Callback callback, void* argument);
void __wrap_nni_aio_init(nng_aio* aio, Callback callback, void* argument);
void __wrap_nni_aio_init(nng_aio* aio, Callback callback, void* argument) {
  if (is_creating && created == nullptr) {
    const std::lock_guard lock(listeners_mutex);
    created = &listeners.insert_or_assign(aio, Listener{aio, nullptr, callback, argument}).first->second;
    __real_nni_aio_init(aio, on_accept, created);
    return;
  }
  if (is_creating) {
    created->timer = aio;
    is_creating = false;
  }
  __real_nni_aio_init(aio, callback, argument);
}

void __real_nni_aio_fini(nng_aio* aio);
void __wrap_nni_aio_fini(nng_aio* aio);
void __wrap_nni_aio_fini(nng_aio* aio) {
  __real_nni_aio_fini(aio);  // returns when its callback has
  const std::lock_guard lock(listeners_mutex);
  listeners.erase(aio);
}
}
