/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_WIRE_H
#define MIGRATE_WIRE_H

/* Numbers of QEMU's migration stream, version 3. Source: docs/wire.md; include/migration of
 * QEMU 7.2, by reading. */

enum {
	WIRE_MAGIC = 0x5145564d, /* "QEVM" */
	WIRE_VERSION = 3,
	WIRE_PAGE = 4096,
	WIRE_RAM_VERSION = 4,
	WIRE_RAM_NUMBER = 1,   /* not 0, which QEMU takes for any section it has not seen */
	WIRE_FIRST_DEVICE = 2, /* section number */
};

enum wire_mark {
	WIRE_EOF = 0x00,
	WIRE_START = 0x01,
	WIRE_PART = 0x02,
	WIRE_END = 0x03,
	WIRE_FULL = 0x04,
	WIRE_SUBSECTION = 0x05,
	WIRE_DESCRIPTION = 0x06,
	WIRE_CONFIGURATION = 0x07,
	WIRE_COMMAND = 0x08,
	WIRE_FOOTER = 0x7e,
};

enum wire_command {
	WIRE_OPEN_RETURN_PATH = 1,
	WIRE_PING,
	WIRE_POSTCOPY_ADVISE,
	WIRE_POSTCOPY_LISTEN,
	WIRE_POSTCOPY_RUN,
	WIRE_POSTCOPY_RAM_DISCARD,
	WIRE_PACKAGED,
	WIRE_ENABLE_COLO,
	WIRE_POSTCOPY_RESUME,
	WIRE_RECV_BITMAP,
	WIRE_SWITCHOVER_START,
};

/* How a record of TLS begins, where the other side was expected to speak without: RFC 8446, 5.1. */
enum wire_tls { WIRE_TLS_ALERT = 0x1503, WIRE_TLS_HANDSHAKE = 0x1603 };

/* Messages back to the source, on the return path. */
enum wire_reply { WIRE_REPLY_SHUT = 1, WIRE_REPLY_PONG };

/* Low bits of a RAM record's address. */
enum wire_ram {
	WIRE_RAM_ZERO = 0x02,
	WIRE_RAM_MEM_SIZE = 0x04,
	WIRE_RAM_PAGE = 0x08,
	WIRE_RAM_EOS = 0x10,
	WIRE_RAM_CONTINUE = 0x20,
	WIRE_RAM_XBZRLE = 0x40,
	WIRE_RAM_HOOK = 0x80,
	WIRE_RAM_COMPRESS = 0x100,
	WIRE_RAM_MULTIFD_FLUSH = 0x200,
	WIRE_RAM_KNOWN = 0x800, /* ours, between two Outlives that have agreed on it */
};

#endif
