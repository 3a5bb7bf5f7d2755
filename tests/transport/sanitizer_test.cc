// Sanitizer settings of this test program.

// nng 1.5 keeps a few hundred bytes for some connections that end while they are being set up.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:nng_listener_create\nleak:nng_dialer_create\nleak:nni_plat_thr_main";
}
