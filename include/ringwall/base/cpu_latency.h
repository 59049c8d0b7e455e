/* SPDX-License-Identifier: GPL-3.0-or-later
 * base/cpu_latency.h - a bound on how long a processor may take to wake
 *
 * A processor with nothing to do sleeps, and the deeper it does the longer it takes to wake. In a virtual machine even the lightest
 * sleep is an exit to the host: to send the interrupt that ends it costs the one who wakes about as much again. Whoever passes
 * messages on, wake after wake, pays that more than anything else. The kernel keeps a bound for the whole machine while somebody
 * asks for one (its PM QoS interface, /dev/cpu_dma_latency): with 0 an idle processor looks for work without sleeping, and nobody
 * needs to send it an interrupt. That costs power, and on a shared host time of the processor, but of no process. A request ends
 * with its descriptor, so also when the process is killed.
 * Any thread, one at a time. */
#pragma once

#include <ringwall/base/defs.h>

#define CPU_LATENCY_DEVICE "/dev/cpu_dma_latency"
enum { CPU_LATENCY_US_MAX = 1000000 };

/* A descriptor that asks for nothing yet, the caller's to close; negative errno, usually -ENOENT in a container or -EACCES. */
int cpu_latency_open(const char *device) must_check;
/* Microseconds, at most CPU_LATENCY_US_MAX; negative: ask for nothing. 0 or negative errno. */
int cpu_latency_ask(int fd, int32_t us) must_check;
