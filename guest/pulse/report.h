/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The witness's report: what it felt, at a published guest physical address
 *
 * The guest forms (PVH, firmware) put this at PULSE_REPORT_GPA, RAM on q35 and microvm alike. It is
 * one header page, then one block per vCPU. A reader needs nothing else: all sizes are in the
 * header. Every field is naturally aligned, little endian, and written by one vCPU only; a reader
 * that looks while the guest runs gets each word whole, and a vCPU block whole when its @lock was
 * even and the same before and after.
 *
 * Also read by tools/pulse_report.py: change both, and PULSE_VERSION with any change of meaning or
 * place.
 */
#ifndef PULSE_REPORT_H
#define PULSE_REPORT_H

#include <stdint.h>

#define PULSE_REPORT_GPA 0x10000ull
#define PULSE_MAGIC      0x0045534c55500a7eull /* 7e 0a "PULSE" 00 */
#define PULSE_VERSION    1u
#define PULSE_MAX_CPUS   64
#define PULSE_BUCKETS    160 /* four per power of two of nanoseconds */
#define PULSE_GAPS       16
#define PULSE_FAULTS     16
#define PULSE_DEVICES    8
#define PULSE_CMDLINE    256
#define PULSE_EXITS      6

/**
 * enum pulse_state - Life of the witness
 * @PULSE_BOOTING:	Page may be incomplete; trust only magic and state
 * @PULSE_FILLING:	Beating; the first fill of memory goes on; requests wait
 * @PULSE_RUNNING:	Everything works, requests are served
 * @PULSE_ENDED:	Asked to quit; figures are final
 * @PULSE_FAILED:	A fault of its own: see @fail_* in the header
 */
enum pulse_state { PULSE_BOOTING = 1, PULSE_FILLING, PULSE_RUNNING, PULSE_ENDED, PULSE_FAILED };

/** enum pulse_form - How it was started */
enum pulse_form { PULSE_FORM_PVH = 1, PULSE_FORM_BIOS, PULSE_FORM_LINUX };

/** enum pulse_tsc_source - Where the TSC's frequency is from */
enum pulse_tsc_source {
	PULSE_TSC_PARAMETER = 1,
	PULSE_TSC_HYPERVISOR,
	PULSE_TSC_CPUID,
	PULSE_TSC_KVMCLOCK,
	PULSE_TSC_PIT,
	PULSE_TSC_HOST,
	PULSE_TSC_LAPIC,
};

/* What a vCPU did between two beats (struct pulse_gap.cause); none means that it only read its
 * clock. */
#define PULSE_DID_DIRTY   (1u << 0)
#define PULSE_DID_VERIFY  (1u << 1)
#define PULSE_DID_FILL    (1u << 2)
#define PULSE_DID_CONSOLE (1u << 3)
#define PULSE_DID_CLOCK   (1u << 4) /* asked ring 0 for the wall clock */
#define PULSE_DID_IO      (1u << 5)
#define PULSE_DID_SLEEP   (1u << 6)
#define PULSE_DID_REQUEST (1u << 7)

/**
 * struct pulse_gap - One time the clock jumped between two readings
 * @tsc:	Reading before
 * @ticks:	To the reading after
 * @ns:		The same in nanoseconds
 * @mono_ns:	Monotonic clock before, 0 without one
 * @mono_delta:	How far the monotonic clock moved over the gap (ns); a guest that was stopped may
 * not see the pause here
 * @number:	Counts the vCPU's gaps over the threshold, from 1; 0: entry unused
 * @cause:	PULSE_DID_* of what the vCPU itself did meanwhile
 */
struct pulse_gap {
	uint64_t tsc;
	uint64_t ticks;
	uint64_t ns;
	uint64_t mono_ns;
	int64_t mono_delta;
	uint64_t number;
	uint32_t cause;
	uint32_t reserved;
	uint64_t reserved2;
};

/**
 * struct pulse_cpu - What one vCPU felt and did
 * @index:	Order in which it came up; 0 is the boot vCPU
 * @apic_id:	Its APIC id
 * @online:	1 when it works
 * @roles:	1: beats, 2: dirties and verifies
 * @lock:	Odd while @top or @recent change
 * @beats:	Clock readings
 * @tsc_first:	First reading
 * @tsc_last:	Newest reading, written every few hundred beats
 * @gaps:	Gaps over the threshold
 * @gap_ns:	Their sum
 * @tsc_back:	Times the clock went backward
 * @tsc_back_max: Farthest (ticks)
 * @mono_back:	The same for the monotonic clock (ns)
 * @dirtied:	Pages written
 * @verified:	Pages checked
 * @faults:	Pages found wrong
 * @passes:	Complete background passes of the check over its share
 * @owned:	Pages it owns
 * @first_page:	Number of its first page among all owned
 * @rate:	Pages it tries to write per second; 0: as fast as possible, ~0: none
 * @behind:	Times it could not keep the rate and gave the debt up
 * @hist:	Gaps of all sizes: bucket 4 * e + s counts gaps of (4 + s) * 2^e / 4 ns and more
 * @top:	Largest gaps since the last reset, largest first
 * @recent:	Newest gaps over the threshold; the one numbered n is at n % PULSE_GAPS
 */
struct pulse_cpu {
	uint32_t index;
	uint32_t apic_id;
	uint32_t online;
	uint32_t roles;
	uint64_t lock;
	uint64_t beats;
	uint64_t tsc_first;
	uint64_t tsc_last;
	uint64_t gaps;
	uint64_t gap_ns;
	uint64_t tsc_back;
	uint64_t tsc_back_max;
	uint64_t mono_back;
	uint64_t mono_back_max;
	uint64_t dirtied;
	uint64_t verified;
	uint64_t faults;
	uint64_t passes;
	uint64_t owned;
	uint64_t first_page;
	uint64_t rate;
	uint64_t behind;
	uint64_t verify_all; /* requests to verify everything that this vCPU has finished */
	uint64_t reserved[75];
	uint64_t hist[PULSE_BUCKETS];
	struct pulse_gap top[PULSE_GAPS];
	struct pulse_gap recent[PULSE_GAPS];
};

/**
 * enum pulse_fault_kind - What is wrong with a page
 * @PULSE_LOST:		Nothing of the witness is there (all zero, or content of an earlier life)
 * @PULSE_STALE:	Whole, but older than what was last written
 * @PULSE_AHEAD:	Whole, but newer than the record: the record itself went back
 * @PULSE_TORN:		Head and body, or parts of the body, from different writes
 * @PULSE_MISPLACED:	Whole, but it belongs to another page number
 * @PULSE_CORRUPT:	None of these: bits changed
 */
enum pulse_fault_kind {
	PULSE_LOST = 1,
	PULSE_STALE,
	PULSE_AHEAD,
	PULSE_TORN,
	PULSE_MISPLACED,
	PULSE_CORRUPT
};

/**
 * struct pulse_fault - One page that was found wrong
 * @gpa:	Its address
 * @kind:	enum pulse_fault_kind
 * @cpu:	Who found it
 * @want_page, @want_seq: What should be there
 * @found_page, @found_seq: What its head says
 * @offset:	First wrong byte's word within the page
 * @want, @found: That word
 * @tsc:	When it was found
 */
struct pulse_fault {
	uint64_t gpa;
	uint32_t kind;
	uint32_t cpu;
	uint64_t want_page;
	uint64_t want_seq;
	uint64_t found_page;
	uint64_t found_seq;
	uint64_t offset;
	uint64_t want;
	uint64_t found;
	uint64_t tsc;
};

/**
 * struct pulse_device - One I/O device in use
 * @kind:	1: block, 2: network, 3: balloon; 0: entry unused
 * @where:	PCI: 0xff00 | devfn; virtio-mmio: address >> 8
 * @state:	1: works, 2: refused (no VERSION_1, no queue), 3: device asked for a reset, or the
 * connection is gone
 * @depth:	Requests kept in flight
 * @id:		Capacity in sectors, or MAC address
 * @out:	Written blocks, packets sent, pages told of as free
 * @in:		Blocks read and checked, packets received, pages told of that are in use again
 * @bad:	Wrong content
 * @lost, @duplicated, @reordered: Packets; for blocks @lost counts errors the device reported
 * @answered:	ARP and ICMP echo replies sent
 * @longest_ns:	Longest time from submission to completion
 * @lent:	Pages that the balloon has
 * @first_bad, @want, @found: First wrong block or packet: its number, sequence expected and found
 */
struct pulse_device {
	uint32_t kind;
	uint32_t where;
	uint32_t state;
	uint32_t depth;
	uint64_t id;
	uint64_t out;
	uint64_t in;
	uint64_t bad;
	uint64_t lost;
	uint64_t duplicated;
	uint64_t reordered;
	uint64_t answered;
	uint64_t longest_ns;
	uint64_t first_bad;
	uint64_t want;
	uint64_t found;
	uint64_t lent;
	uint64_t reserved[1];
};

/** enum pulse_exit_kind - An access that leaves the guest */
enum pulse_exit_kind {
	PULSE_EXIT_PORT_READ = 1, /* the serial port's line status */
	PULSE_EXIT_PORT_WRITE,    /* its scratch register */
	PULSE_EXIT_MMIO_READ,     /* the status of the first virtio device in use */
	PULSE_EXIT_MMIO_WRITE,    /* its queue select */
	PULSE_EXIT_DOORBELL,      /* of its first queue, with nothing new in it */
};

/**
 * struct pulse_exit - What one kind of access took, when it was last asked for
 * @kind:	enum pulse_exit_kind; 0: entry unused
 * @count:	How many were made in a row
 * @median_ns, @min_ns, @max_ns: By this vCPU's clock, reading it included
 */
struct pulse_exit {
	uint32_t kind;
	uint32_t count;
	uint64_t median_ns;
	uint64_t min_ns;
	uint64_t max_ns;
};

/**
 * struct pulse_report - The header page
 *
 * Doorbell: who can write guest memory sets @req_arg, then @req to a letter (see docs/pulse.md),
 * then adds 1 to
 * @req_count; the witness serves it, sets @ack_result and then @ack_count to the same number.
 *
 * Clocks: all differences are taken against the start, in ns; @wall_mono_ns is (wall clock -
 * monotonic clock), which stays 0 as long as the guest was never stopped; @tsc_mono_ns the same for
 * the TSC.
 */
struct pulse_report {
	uint64_t magic;
	uint32_t version;
	uint32_t size; /* bytes in use: header_size + cpus * cpu_size */
	uint32_t header_size;
	uint32_t cpu_size;
	uint32_t cpus;
	uint32_t form;
	uint32_t state;
	uint32_t fail_vector;
	uint64_t fail_error;
	uint64_t fail_rip;
	uint64_t fail_address;
	/* 0x40: doorbell */
	uint64_t req_count;
	uint64_t req;
	uint64_t req_arg;
	uint64_t ack_count;
	uint64_t ack_result;
	uint64_t reserved0[3];
	/* 0x80: clocks */
	uint64_t tsc_hz;
	uint32_t tsc_source;
	uint32_t has_mono;  /* 1: kvmclock; 0: no monotonic clock but the TSC */
	uint64_t tsc_start; /* first instruction of the C code */
	uint64_t tsc_ready; /* state became RUNNING */
	uint64_t mono_start_ns;
	uint64_t mono_ns;
	uint64_t wall_start_ns; /* since 1970; 0: no wall clock */
	uint64_t wall_ns;
	int64_t tsc_mono_ns;
	int64_t tsc_mono_max_ns; /* largest absolute value seen */
	int64_t wall_mono_ns;
	int64_t wall_mono_max_ns;
	uint64_t wall_back; /* times the wall clock went backward against itself */
	uint64_t wall_back_max_ns;
	uint64_t mono_changes; /* times the host changed the monotonic clock's parameters */
	uint64_t gap_threshold_ns;
	/* 0x100: memory */
	uint64_t ram_bytes;
	uint64_t pages_owned;
	uint64_t pages_working;
	uint64_t pages_filled;
	uint64_t faults;
	uint64_t verify_asked;  /* requests to verify everything */
	uint64_t verify_done;   /* ... and how many are complete */
	uint64_t verify_faults; /* wrong pages found by the last complete one */
	uint64_t verify_pages;  /* pages it checked */
	uint64_t life;          /* random number of this start, part of every page's content */
	uint32_t pattern;
	uint32_t content;
	uint64_t shadow_gpa; /* 32-bit sequence per owned page */
	uint64_t first_gpa;  /* the first owned page */
	uint64_t reserved1[3];
	/* 0x180 */
	char cmdline[PULSE_CMDLINE];
	/* 0x280 */
	struct pulse_fault fault[PULSE_FAULTS];
	struct pulse_device device[PULSE_DEVICES];
	struct pulse_exit exit[PULSE_EXITS];
	uint64_t reserved2[120];
};

_Static_assert(sizeof(struct pulse_gap) == 64, "layout");
_Static_assert(sizeof(struct pulse_fault) == 80, "layout");
_Static_assert(sizeof(struct pulse_device) == 128, "layout");
_Static_assert(sizeof(struct pulse_exit) == 32, "layout");
_Static_assert(sizeof(struct pulse_cpu) == 4096, "layout");
_Static_assert(sizeof(struct pulse_report) == 4096, "layout");

#define PULSE_REPORT_MAX (sizeof(struct pulse_report) + PULSE_MAX_CPUS * sizeof(struct pulse_cpu))

#endif
