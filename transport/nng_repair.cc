// Repairs nng 1.5, whose close may otherwise never return (github.com/nanomsg/nng: issue 616, pull request 1636, mended
// in 1.6). When a connection is closed between two pieces of a message, nng starts the next piece on an operation that
// is stopped already; nni_aio_begin refuses that without calling the operation's callback, and whoever waits for the
// message waits for ever: nng's only reaper thread, and with it every later close in the process. So a refusal is
// reported to the callback here, as other versions of nng do. The linker puts this in the place of nni_aio_begin (see
// CMakeLists.txt).
#include <nng/nng.h>

extern "C" {

int __real_nni_aio_begin(nng_aio* aio);
void nni_aio_finish_error(nng_aio* aio, int nng_code);

int __wrap_nni_aio_begin(nng_aio* aio);
int __wrap_nni_aio_begin(nng_aio* aio) {
  const int result = __real_nni_aio_begin(aio);
  if (result != 0) nni_aio_finish_error(aio, result);
  return result;
}
}
