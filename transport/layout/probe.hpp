// Probes for tracers (bpftrace, SystemTap, perf): one nop each, and a note in the program that says where it is and
// where its arguments are; nothing where <sys/sdt.h> was missing at build time. Arguments are integers and pointers to
// text that are there anyway: a probe must not compute. What they mean is told in penstock-probes(7).
#pragma once

#ifdef PENSTOCK_PROBES
#include <sys/sdt.h>
#define PENSTOCK_PROBE3(name, a, b, c) DTRACE_PROBE3(penstock, name, a, b, c)
#define PENSTOCK_PROBE4(name, a, b, c, d) DTRACE_PROBE4(penstock, name, a, b, c, d)
#else
#define PENSTOCK_PROBE3(name, a, b, c) static_cast<void>(0)
#define PENSTOCK_PROBE4(name, a, b, c, d) static_cast<void>(0)
#endif
